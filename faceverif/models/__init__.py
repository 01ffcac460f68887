"""Models that turn crops into embeddings: trained here, or an ONNX file from elsewhere."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.errors import InputError
from faceverif.models.embedder import Embedder, PreprocessingSpec

if TYPE_CHECKING:
    from faceverif.models.model_file import MODEL_NAME, TorchEmbedder, load_model, save_model

__all__ = [
    "MODEL_NAME",
    "Embedder",
    "PreprocessingSpec",
    "TorchEmbedder",
    "load_differentiable",
    "load_embedder",
    "load_model",
    "save_model",
]


_OF_MODEL_FILE = ("MODEL_NAME", "TorchEmbedder", "load_model", "save_model")


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is first used, so that wrong options are reported before."""
    if name not in _OF_MODEL_FILE:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module("faceverif.models.model_file"), name)


def load_embedder(
    *, run: Path | None, onnx: Path | None, preprocess: str | None, output: str | None = None
) -> Embedder:
    """The model of a run, or an ONNX file with the name of its preprocessing.

    Args:
        run: folder of a training run.
        onnx: the .onnx file.
        preprocess: a name in `PREPROCESSINGS`, for an ONNX file.
        output: the name of the ONNX file's embedding, where its shape does not tell.

    Raises:
        InputError: both or neither are given, or an option does not belong to what is given.
    """
    if onnx is not None and run is None:
        from faceverif.models.onnx_file import OnnxEmbedder  # brings onnx and onnxruntime

        return OnnxEmbedder(onnx, preprocess, output=output)
    if run is None or onnx is not None:
        raise InputError(
            "model",
            "must be either --run DIR or --onnx FILE",
            got="neither" if run is None else "both",
            fix="Give one of them.",
        )
    for option, value in (("--preprocess", preprocess), ("--output", output)):
        if value is not None:
            raise InputError(
                option,
                "belongs to --onnx: a model trained here says itself what it takes and gives",
                got=value,
                fix="Leave it out.",
            )
    from faceverif.models.model_file import MODEL_NAME, load_model  # brings torch

    return load_model(run / MODEL_NAME)


def load_differentiable(
    *,
    run: Path | None = None,
    onnx: Path | None = None,
    preprocess: str | None = None,
    output: str | None = None,
) -> TorchEmbedder:
    """The same as a PyTorch network in evaluation mode, through which gradients flow: for attacks, teachers.

    An ONNX file is converted in memory, and compared with what onnxruntime computes. To train such a network
    further, import it.

    Args:
        run, onnx, preprocess, output: as for `load_embedder`.

    Raises:
        InputError: as `load_embedder`; or the ONNX file has an operator without gradients.
    """
    if onnx is not None and run is None:
        from faceverif.models.importing.onnx_layers import differentiable

        return differentiable(onnx, preprocess, output=output).embedder
    from faceverif.models.model_file import TorchEmbedder

    embedder = load_embedder(run=run, onnx=onnx, preprocess=preprocess, output=output)
    assert isinstance(embedder, TorchEmbedder)
    embedder.backbone.eval()
    return embedder
