"""A checkpoint from elsewhere: the published network that it holds, in one of our backbones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from data_prep.counted import counted
from data_prep.errors import InputError, few
from data_prep.file_hash import file_hash
from faceverif.backbones import Backbone, build_backbone
from faceverif.config.backbones import BackboneConfig
from faceverif.models.importing.checkpoint import read_weights
from faceverif.models.importing.incoming import ImportSettings, Incoming, fitting_spec
from faceverif.models.importing.layouts import Pixels, Recognised, may_be_network, recognise
from faceverif.models.preprocessing import find_preprocessing

_VARIANT = (
    "It is another variant of that network, or a part of one: export the network that made it to ONNX, and "
    "import that file."
)


def from_checkpoint(file: Path, settings: ImportSettings) -> Incoming:
    """The network of a checkpoint by `torch.save`, or of a .safetensors file.

    Args:
        file: the checkpoint.
        settings: what the user states about the model.

    Raises:
        InputError: the file cannot be read safely, holds no network that is known here or only a part of one,
            its template is too small, or a setting belongs to ONNX files.
    """
    if settings.output is not None:
        raise InputError("--output", "belongs to .onnx files", got=settings.output, fix="Leave it out.")
    found, notes = _find(file)
    pixels = _pixels(found.layout.pixels, settings)
    config = _config(found, pixels, file=file)
    return Incoming(
        name=found.name,
        sha256=file_hash(file),
        backbone=_filled_backbone(found, config, pixels, file=file),
        config=config.model_dump(mode="json"),
        spec=fitting_spec(settings.template or found.layout.template, input_px=config.input_px),
        pixels=str(pixels),
        pixel_options=("--preprocess", "--colours"),
        left_out=found.left_out,
        notes=(*notes, *_doubt(found, settings)),
    )


def _doubt(found: Recognised, settings: ImportSettings) -> list[str]:
    """That the colours are a guess, where they are one and the user has not said them."""
    said = settings.colours is not None or settings.preprocess is not None
    return [] if said or found.layout.doubt is None else [found.layout.doubt]


def _pixels(published: Pixels, settings: ImportSettings) -> Pixels:
    """What the network is fed: what its publishers fed it, unless the user says otherwise."""
    if settings.preprocess is None:
        return replace(published, colours=settings.colours or published.colours)
    said = find_preprocessing(settings.preprocess)
    if settings.colours not in (None, said.colour_order):
        raise InputError(
            "--colours",
            "must agree with --preprocess",
            got=f"{settings.colours} and {settings.preprocess}",
            fix="Leave --colours out.",
        )
    return Pixels(said.colour_order, said.unit_mean, said.unit_std)


def _find(file: Path) -> tuple[Recognised, list[str]]:
    """The first network in a file, and a note where it holds others too."""
    candidates = list(read_weights(file))
    for place, tensors in enumerate(candidates):
        if (found := recognise(tensors)) is not None:
            if found.unknown:
                raise _unknown(file, found.unknown, f"it looks like {found.name}")
            networks = 1 + sum(map(may_be_network, candidates[place + 1 :]))
            first = f"the first of {networks} networks in the file; to import another, save it alone"
            return found, [first] if networks > 1 else []
    largest = max(candidates, key=len)
    raise _unknown(file, tuple(largest), counted(len(largest), "tensor"))


def _unknown(file: Path, keys: tuple[str, ...], what: str) -> InputError:
    return InputError(
        "FILE",
        "must hold a network that is known here: InsightFace's iResNet or MobileFaceNet, AdaFace's or "
        "CVLface's IR net, MagFace, or facenet-pytorch's InceptionResnetV1",
        got=f"{file} ({what}); not understood: {few(keys, most=4)}",
        fix="Export the network to ONNX and import that file.",
    )


def _config(found: Recognised, pixels: Pixels, *, file: Path) -> BackboneConfig:
    """The section of our backbone; its bounds are those of the networks that are known here."""
    settings = found.config | {"pixel_mean": pixels.mean, "pixel_std": pixels.std}
    try:
        return TypeAdapter[BackboneConfig](BackboneConfig).validate_python(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(
            "FILE",
            f"must hold a {found.name} as it is known here",
            got=f"{file}: {first['loc'][-1]} {first['input']} ({first['msg'].lower()})",
            fix=_VARIANT,
        ) from error


def _filled_backbone(found: Recognised, config: Any, pixels: Pixels, *, file: Path) -> Backbone:
    backbone = build_backbone(config).eval()
    shapes = {key: tensor.shape for key, tensor in backbone.state_dict().items()}
    wanted = {key for key in shapes if not key.endswith("num_batches_tracked")}
    state = dict(found.state)
    if missing := sorted(wanted - set(state)):
        lacking = f"{len(missing)} of {len(wanted)} tensors are missing, such as {found.in_file(missing[0])}"
        raise _incomplete(file, found, lacking)
    wrong = [key for key in state if shapes.get(key) != state[key].shape]
    if wrong:
        ours = tuple(shapes[wrong[0]]) if wrong[0] in shapes else "nothing"
        raise _incomplete(
            file, found, f"{found.in_file(wrong[0])} is {tuple(state[wrong[0]].shape)} where {ours} belongs"
        )
    if broken := [key for key, tensor in state.items() if not torch.isfinite(tensor).all()]:
        holds = f"{found.in_file(broken[0])} holds NaN or infinity"
        raise _incomplete(file, found, holds, fix="Copy or download it again, or take an earlier checkpoint.")
    if pixels.colours == "bgr":
        first = next(key for key, tensor in state.items() if tensor.ndim == 4 and tensor.shape[1] == 3)
        state[first] = state[first].flip(1)
    backbone.load_state_dict(state, strict=False)
    return backbone


def _incomplete(file: Path, found: Recognised, why: str, *, fix: str = _VARIANT) -> InputError:
    return InputError("FILE", f"must hold the whole {found.name}", got=f"{file}: {why}", fix=fix)
