"""The model of the page with its thresholds and its guard: from crops to decisions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.alignment.base import Template
from faceverif.app.pictures import Pixels
from faceverif.recogniser import Recogniser, load
from faceverif.verification.calibration import CalibratedPoint, Calibration, load_calibration
from robustness.calibration_size import smallest_rate
from robustness.guard import GUARD_NAME, GuardedModel, load_guard

USUAL_FAR = 0.01
_USUAL_REJECTION = 0.01
_ANY_REJECTION = 0.5  # a rate that every guard resolves


@dataclass(frozen=True)
class Decision:
    """What a threshold makes of a similarity.

    Attributes:
        similarity: cosine of two embeddings.
        point: the threshold, and the rates that were measured with it.
        tar_interval: 95 % interval of its true accept rate.
    """

    similarity: float
    point: CalibratedPoint
    tar_interval: tuple[float, float]

    @property
    def same(self) -> bool:
        """Whether both show the same person."""
        return self.similarity >= self.point.threshold

    @property
    def words(self) -> str:
        """The decision."""
        return "Same person" if self.same else "Different people"


@dataclass(frozen=True)
class Matcher:
    """A calibrated model.

    Attributes:
        name: as the page calls it.
        model: the recogniser.
        calibration: its thresholds.
        guard: what rejects photos; None where the model has none.
    """

    name: str
    model: Recogniser
    calibration: Calibration
    guard: GuardedModel | None

    @classmethod
    def load(cls, path: Path, *, preprocess: str | None = None, output: str | None = None) -> Matcher:
        """A model with what lies beside it.

        Args:
            path, preprocess, output: as for `faceverif.load`.

        Raises:
            InputError: no such model, it has no thresholds, or what lies there is damaged.
        """
        embedder = load(path, preprocess=preprocess, output=output).embedder
        calibration = load_calibration(
            path, model_sha256=embedder.sha256, preprocess=preprocess, output=output
        )
        embedder.spec.checked_template()
        return cls(
            embedder.name, Recogniser(embedder, flip=calibration.flip), calibration, _guard_beside(path)
        )

    @property
    def template(self) -> Template:
        """Of the crops."""
        return self.model.embedder.spec.checked_template()

    @property
    def points(self) -> tuple[CalibratedPoint, ...]:
        """The thresholds, in falling order of their false accept rate."""
        return self.calibration.points

    @property
    def usual_point(self) -> int:
        """Index of the threshold that the page begins with: FAR 0.01, or the strictest above it."""
        return max([0, *(place for place, point in enumerate(self.points) if point.far >= USUAL_FAR * 0.999)])

    def embed(self, crop: Pixels) -> NDArray[np.float32]:
        """(dim,) of length 1. One crop at a time, as `compare` has it: a batch would round otherwise."""
        return self.model.embed(crop)

    def decide(self, similarity: float, point: int) -> Decision:
        """By the threshold of that index; one beyond the last counts as the last."""
        chosen = self.points[min(max(point, 0), len(self.points) - 1)]
        return Decision(similarity, chosen, self.calibration.tar_interval(chosen))

    def rejected(self, crop: Pixels) -> bool | None:
        """Whether the guard takes a crop for adversarial; None without a guard."""
        if self.guard is None:
            return None
        return bool(self.guard.point.rejects(self.guard.scores(crop[None]))[0])


def _guard_beside(path: Path) -> GuardedModel | None:
    """The guard of a run, at a false-rejection rate of 0.01 or the smallest that its scores resolve."""
    if not (path / GUARD_NAME).is_file():
        return None
    found = load_guard(path, rate=_ANY_REJECTION)
    rate = max(_USUAL_REJECTION, float(smallest_rate(len(found.guard.clean_scores))))
    return replace(found, point=found.guard.point(rate))
