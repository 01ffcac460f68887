"""An ONNX file from elsewhere as a backbone of ours."""

from __future__ import annotations

from pathlib import Path

from data_prep.counted import counted
from data_prep.errors import InputError
from faceverif.config.backbones import OnnxConfig
from faceverif.models.embedder import PreprocessingSpec
from faceverif.models.importing.incoming import ImportSettings, Incoming, fitting_spec
from faceverif.models.importing.onnx_layers import differentiable
from faceverif.models.location import MODEL_OPTION
from faceverif.option_names import renamed_options


def from_onnx(file: Path, settings: ImportSettings) -> Incoming:
    """The network of an ONNX file.

    Args:
        file: the .onnx file; external data must lie in its folder.
        settings: what the user states about the model; `preprocess` is needed.

    Raises:
        InputError: see `differentiable`; or the template does not hold the network's input.
    """
    if settings.colours is not None:
        raise InputError(
            "--colours",
            "belongs to checkpoints: --preprocess names the colours of an .onnx file",
            got=settings.colours,
            fix="Leave it out.",
        )
    with renamed_options({MODEL_OPTION: "FILE"}):
        found = differentiable(file, settings.preprocess, output=settings.output)
    backbone, source = found.backbone, found.source
    config = OnnxConfig(
        name="onnx",
        embedding_dim=backbone.embedding_dim,
        input_px=backbone.input_px,
        pixel_mean=source.pixels.unit_mean,
        pixel_std=source.pixels.unit_std,
    )
    notes = [
        f"embeddings: within {found.difference:.1e} of onnxruntime's, on the scale of their largest number"
    ]
    if backbone.portion is not None:
        notes.append(
            f"its graph takes {counted(backbone.portion, 'photo')} at a time only, so it is slow on many"
        )
    return Incoming(
        name="ONNX graph",
        sha256=source.sha256,
        backbone=backbone,
        config=config.model_dump(mode="json"),
        spec=_spec(source.spec, settings.template),
        pixels=source.preprocessing,
        pixel_options=("--preprocess",),
        notes=tuple(notes),
    )


def _spec(guessed: PreprocessingSpec, template: str | None) -> PreprocessingSpec:
    """The spec with the template that the user names; without one the smallest that holds the input."""
    if template is None:
        return guessed
    return fitting_spec(template, input_px=guessed.input_px)
