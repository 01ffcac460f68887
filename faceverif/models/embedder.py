"""The contract of an embedder: aligned crops in, embeddings out, and a spec of what the crops must be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from data_prep.alignment import find_template
from data_prep.alignment.base import Template
from data_prep.dataset.crops import centre_square
from data_prep.dataset.manifest import DatasetHeader
from data_prep.errors import InputError
from faceverif.models.recipe import Recipe

UNKNOWN_TRAINING = "unknown: the model does not say what it was trained on"


@dataclass(frozen=True)
class PreprocessingSpec:
    """The crops that a model expects; stored in its file and compared with every data set.

    Attributes:
        template: name of the alignment template.
        template_sha256: its geometry.
        input_px: side of the model's input, cut from the middle of the crop.
        colour_order: of the crops that the embedder takes.
    """

    template: str
    template_sha256: str
    input_px: int
    colour_order: str = "rgb"

    @classmethod
    def of(cls, template: Template, *, input_px: int) -> PreprocessingSpec:
        """The spec of a model that takes the middle `input_px` of this template's crops."""
        return cls(template.name, template.sha256, input_px)

    def checked_template(self) -> Template:
        """The template, as this version draws it.

        Raises:
            InputError: it is unknown here, has another geometry, or is smaller than the model's input.
        """
        template = find_template(self.template)
        if template.sha256 != self.template_sha256:
            raise InputError(
                "model",
                f"template {self.template} must have the geometry of this version ({template.sha256[:12]})",
                got=self.template_sha256[:12],
                fix="Use the version that the model was trained with, or train again.",
            )
        if not 0 < self.input_px <= template.crop_px:
            raise InputError(
                "model",
                f"input_px must be at most {template.crop_px}, the side of {self.template}'s crops",
                got=self.input_px,
                fix="Copy the model file again.",
            )
        return template

    def refuse_other(self, header: DatasetHeader) -> None:
        """Refuse a data set whose crops differ from those that the model expects.

        Raises:
            InputError: template, geometry or colour order differ.
        """
        wanted = (self.template, self.template_sha256[:12], self.colour_order)
        got = (header.template, header.template_sha256[:12], header.colour_order)
        if wanted != got:
            raise InputError(
                "data",
                f"crops must be what the model was made for: {' '.join(wanted)}",
                got=" ".join(got),
                fix=f"Align the photos with --template {self.template}.",
            )


class Embedder(ABC):
    """Turns uint8 RGB crops into raw embeddings.

    The base class checks the crops, cuts the model's input from their middle and checks the embeddings; a
    subclass only runs its model.

    Attributes:
        spec: the crops that it takes.
        name: the run or the file, for messages and reports.
        sha256: hash of the weights, or of the files.
        preprocessing: what happens to the pixels, in words.
        recipe: how another process loads it; None where it comes from no file.
        provenance: where the weights come from; empty for a model from elsewhere.
        alike_cause: why different people may get nearly the same embedding, in words.
        unusable_fix: what to do about embeddings that are not finite, or zero.
    """

    spec: PreprocessingSpec
    name: str
    preprocessing: str
    recipe: Recipe | None = None
    provenance: Mapping[str, Any] = MappingProxyType({})
    alike_cause = "the model hardly tells people apart"
    unusable_fix = "Train again with a lower learning rate, or use an earlier checkpoint."
    _stops = True  # at embeddings that are not finite

    @property
    @abstractmethod
    def sha256(self) -> str:
        """Hash that names the model in every result."""

    @property
    def device(self) -> str:
        """Where it computes."""
        return "cpu"

    @property
    def exclusions(self) -> Mapping[str, Any] | str | None:
        """The list of photos left out of its training; None: there was no list; a text: why it is unknown.

        Earlier versions knew no such list, and their provenance does not mention it.
        """
        data = self.provenance.get("data")
        return UNKNOWN_TRAINING if data is None else data.get("exclusions")

    @abstractmethod
    def _run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, input_px, input_px, 3) RGB -> (n, dim); n >= 1."""

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings of crops, not normalised, not flip-averaged.

        Args:
            crops: (n, crop_px, crop_px, 3), uint8 RGB, n >= 1, in the template of `spec`; or what the model
                sees of them, their middle `input_px` pixels.

        Returns:
            (n, dim) float32.

        Raises:
            ValueError: crops of another shape or type, as of another template.
            NotFiniteError: the model gives embeddings with NaN or infinity; but see `or_nan`.
        """
        embeddings = self._run(self._middle(crops))
        finite = np.isfinite(embeddings).all(axis=1, keepdims=True)
        if finite.all():
            return embeddings
        if self._stops:
            raise NotFiniteError(self, np.flatnonzero(~finite), [f"crop {n}" for n in range(len(crops))])
        return np.where(finite, embeddings, np.float32(np.nan))

    def or_nan(self) -> Self:
        """The same model, which does not stop at an embedding with NaN or infinity, but fills it with NaN."""
        other = copy(self)
        other._stops = False
        return other

    def _middle(self, crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
        # Larger crops have a larger face: their middle would be another picture, and its embedding wrong.
        crop_px, side = find_template(self.spec.template).crop_px, self.spec.input_px
        known = [(each, each, 3) for each in (crop_px, side)]
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] not in known:
            raise ValueError(
                f"embed: crops must be uint8 (n, {crop_px}, {crop_px}, 3), of the template "
                f"{self.spec.template}, or their middle {side} pixels; got {crops.dtype} {crops.shape}"
            )
        return centre_square(crops, side)


class NoEmbeddingError(InputError):
    """A model gave embeddings that cannot be compared; a subclass says which rule they break.

    Args:
        embedder: the model.
        bad: (k,) of which crops, k >= 1.
        names: of all crops.
    """

    _wanted: str
    _given: str

    def __init__(self, embedder: Embedder, bad: NDArray[np.int64], names: Sequence[str]) -> None:
        self.embedder, self.bad = embedder, bad
        more = f" and {len(bad) - 1} more of {len(names)}" if len(bad) > 1 else ""
        super().__init__(
            "model",
            f"must give {self._wanted}",
            got=f"{self._given} from {embedder.name} for {names[bad[0]]}{more}",
            fix=embedder.unusable_fix,
        )


class NotFiniteError(NoEmbeddingError):
    """A model gave embeddings with NaN or infinity."""

    _wanted, _given = "finite embeddings", "NaN or infinity"


class ZeroEmbeddingError(NoEmbeddingError):
    """A model gave embeddings that are zero, which have no direction."""

    _wanted, _given = "embeddings that are not zero", "zeros"


@contextmanager
def naming(photos: Sequence[str]) -> Iterator[None]:
    """Name the photo, where an embedding of these crops is not finite."""
    try:
        yield
    except NotFiniteError as error:
        raise NotFiniteError(error.embedder, error.bad, photos) from error
