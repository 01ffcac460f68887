"""What the importers of checkpoints and of ONNX files agree on: what they are told, and what they find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from data_prep.alignment import TEMPLATES, find_template
from data_prep.alignment.base import Template
from data_prep.errors import InputError
from faceverif.backbones import Backbone
from faceverif.models.embedder import PreprocessingSpec
from faceverif.models.onnx_input import EXPORT_FOR_SMALLER


@dataclass(frozen=True)
class ImportSettings:
    """What the user states about a model. None means: as its publishers did.

    Attributes:
        colours: order in which a checkpoint's network takes the colours.
        template: of the crops that it was trained on.
        preprocess: what it was fed, as for `find_preprocessing`; an ONNX file needs it.
        output: name of an ONNX file's embedding, where its shape does not tell.
    """

    colours: Literal["rgb", "bgr"] | None = None
    template: str | None = None
    preprocess: str | None = None
    output: str | None = None


@dataclass(frozen=True)
class Incoming:
    """A network from elsewhere as one of ours, before it is written.

    Attributes:
        name: of the published network.
        sha256: of the file, or of all files of an ONNX model.
        backbone: RGB pixels in [0, 1] -> raw embeddings, in evaluation mode.
        config: its section, as JSON has it.
        spec: the crops that it takes.
        pixels: what its publishers fed it, in words.
        pixel_options: of the command, that say it where the publishers did something else.
        left_out: keys of the file that are no part of the network.
        provenance: what the file itself says about its origin; JSON-able.
        notes: what else the user should know, a line each.
    """

    name: str
    sha256: str
    backbone: Backbone
    config: Mapping[str, Any]
    spec: PreprocessingSpec
    pixels: str
    pixel_options: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """How many it has."""
        return sum(parameter.numel() for parameter in self.backbone.parameters())

    @property
    def embedding_dim(self) -> int:
        """Length of an embedding."""
        return self.backbone.embedding_dim


def fitting_spec(template: str, *, input_px: int) -> PreprocessingSpec:
    """The spec of a network that takes the middle of a template's crops.

    Raises:
        InputError: no template has this name, or its crops are smaller than the input.
    """
    chosen = find_template(template)
    if chosen.crop_px < input_px:
        raise InputError(
            "--template",
            f"its crops must hold the network's input of {input_px} pixels",
            got=f"{template}, {chosen.crop_px} pixels",
            fix=_larger_template(chosen, input_px=input_px),
        )
    return PreprocessingSpec.of(chosen, input_px=input_px)


def _larger_template(chosen: Template, *, input_px: int) -> str:
    """The way out where a template's crops are too small; one that is drawn as it is comes first."""
    fitting = [each for each in TEMPLATES.values() if each.crop_px >= input_px]
    fitting.sort(key=lambda each: (type(each) is not type(chosen), each.crop_px))
    names = " or ".join(f"--template {each.name}" for each in fitting)
    return f"Add the one that it was trained on: {names}." if fitting else EXPORT_FOR_SMALLER
