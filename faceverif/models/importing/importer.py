"""`faceverif import`: a checkpoint from elsewhere becomes a model folder that other commands accept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import TypeAdapter

from data_prep.alignment import find_template
from data_prep.errors import InputError, printable_lines
from data_prep.lock import filled
from faceverif.backbones import Backbone, build_backbone
from faceverif.config.backbones import BackboneConfig
from faceverif.models.embedder import PreprocessingSpec
from faceverif.models.importing.checkpoint import read_weights
from faceverif.models.importing.layouts import Pixels, Recognised, recognise
from faceverif.models.model_file import MODEL_NAME, save_model

_NAMED = 4  # keys that a message names


@dataclass(frozen=True)
class ImportSettings:
    """What the user states about a model. None means: as its publishers did.

    Attributes:
        colours: order in which it takes the colours.
        template: of the crops that it was trained on.
    """

    colours: Literal["rgb", "bgr"] | None = None
    template: str | None = None


@dataclass(frozen=True)
class ImportedModel:
    """What was imported.

    Attributes:
        path: of our model file.
        name: of the published network.
        pixels: what it is fed.
        spec: the crops that it takes.
        parameters: how many it has.
        embedding_dim: length of an embedding.
        left_out: keys of the file that are no part of the network.
    """

    path: Path
    name: str
    pixels: Pixels
    spec: PreprocessingSpec
    parameters: int
    embedding_dim: int
    left_out: tuple[str, ...]

    def text(self) -> str:
        """A few lines for the user."""
        lines = [
            f"{self.name}: {self.parameters / 1e6:.2f} million parameters, {self.embedding_dim} dimensions",
            f"pixels: {self.pixels} (other colours: --colours)",
            f"crops:  {self.spec.template}, the middle {self.spec.input_px} x {self.spec.input_px} pixels",
        ]
        if self.left_out:
            lines.append(f"not part of the network: {_few(self.left_out)}")
        return printable_lines([*lines, f"model:  {self.path}"])


def import_model(file: Path, out: Path, *, settings: ImportSettings) -> ImportedModel:
    """Find out which network a file holds, and write it as OUT/model.safetensors.

    Colour order and normalisation become part of the model, so that it takes RGB pixels in [0, 1] as ours do.
    Loading runs no code from the file.

    Args:
        file: a checkpoint of InsightFace's iResNets and MobileFaceNet, AdaFace's and CVLface's IR nets,
            MagFace, or facenet-pytorch's InceptionResnetV1.
        out: the model's folder, new or without a model.
        settings: what the user states about the model.

    Returns:
        what was found and where it was written.

    Raises:
        InputError: the file cannot be read safely, holds no network that is known here or only a part of one;
            its template has to be named; or OUT holds a model.
    """
    if (out / MODEL_NAME).exists():
        raise InputError(
            "--out", "must not hold a model yet", got=out / MODEL_NAME, fix="Name another folder."
        )
    found = _find(file)
    published = found.layout.pixels
    pixels = replace(published, colours=settings.colours or published.colours)
    config = TypeAdapter(BackboneConfig).validate_python(
        found.config | {"pixel_mean": pixels.mean, "pixel_std": pixels.std}
    )
    spec = _spec(found, config.input_px, settings.template)
    backbone = _filled_backbone(found, config, pixels, file=file)
    with filled(out, command="faceverif import"):
        save_model(
            out / MODEL_NAME,
            backbone,
            backbone_config=config.model_dump(mode="json"),
            spec=spec,
            provenance={"imported": _origin(file, found, pixels)},
        )
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    return ImportedModel(
        out / MODEL_NAME, found.name, pixels, spec, parameters, config.embedding_dim, found.left_out
    )


def _find(file: Path) -> Recognised:
    candidates = list(read_weights(file))
    for tensors in candidates:
        if (found := recognise(tensors)) is not None:
            if found.unknown:
                raise _unknown(file, found.unknown, f"it looks like {found.name}")
            return found
    largest = max(candidates, key=len)
    raise _unknown(file, tuple(largest), f"{len(largest)} tensors")


def _unknown(file: Path, keys: tuple[str, ...], what: str) -> InputError:
    return InputError(
        "FILE",
        "must hold a network that is known here: InsightFace's iResNet or MobileFaceNet, AdaFace's or "
        "CVLface's IR net, MagFace, or facenet-pytorch's InceptionResnetV1",
        got=f"{file} ({what}); not understood: {_few(keys)}",
        fix="Export it to ONNX: verify, embed and audit take it with --onnx.",
    )


def _few(keys: tuple[str, ...]) -> str:
    more = len(keys) - _NAMED
    return ", ".join(keys[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _spec(found: Recognised, input_px: int, template: str | None) -> PreprocessingSpec:
    name = template or found.layout.template
    if name is None:
        raise InputError(
            "--template",
            f"must name the crops for {found.name}, whose publishers cut faces with a margin, unwarped",
            got="nothing",
            fix="--template arcface-160 is the closest here; expect lower accuracy than they report.",
        )
    chosen = find_template(name)
    if chosen.crop_px < input_px:
        raise InputError(
            "--template",
            f"its crops must hold the network's input of {input_px} pixels",
            got=f"{name}, {chosen.crop_px} pixels",
            fix="Name a larger one, or leave --template out.",
        )
    return PreprocessingSpec.of(chosen, input_px=input_px)


def _filled_backbone(found: Recognised, config: Any, pixels: Pixels, *, file: Path) -> Backbone:
    backbone = build_backbone(config).eval()
    shapes = {key: tensor.shape for key, tensor in backbone.state_dict().items()}
    wanted = {key for key in shapes if not key.endswith("num_batches_tracked")}
    state = dict(found.state)
    if missing := sorted(wanted - set(state)):
        raise _incomplete(
            file, found, f"{len(missing)} of {len(wanted)} tensors are missing, such as {missing[0]}"
        )
    wrong = [key for key in state if shapes.get(key) != state[key].shape]
    if wrong:
        ours = tuple(shapes[wrong[0]]) if wrong[0] in shapes else "nothing"
        raise _incomplete(file, found, f"{wrong[0]} is {tuple(state[wrong[0]].shape)} where {ours} belongs")
    if broken := [key for key, tensor in state.items() if not torch.isfinite(tensor).all()]:
        raise _incomplete(file, found, f"{broken[0]} holds NaN or infinity")
    if pixels.colours == "bgr":
        first = next(key for key, tensor in state.items() if tensor.ndim == 4 and tensor.shape[1] == 3)
        state[first] = state[first].flip(1)
    backbone.load_state_dict(state, strict=False)
    return backbone


def _incomplete(file: Path, found: Recognised, why: str) -> InputError:
    return InputError(
        "FILE",
        f"must hold the whole {found.name}",
        got=f"{file}: {why}",
        fix="Copy or download it again, or export the network that made it to ONNX.",
    )


def _origin(file: Path, found: Recognised, pixels: Pixels) -> dict[str, Any]:
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return {"file": file.name, "sha256": sha256, "network": found.name, "pixels": str(pixels)}
