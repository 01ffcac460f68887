"""Means of what the steps between two rows of the log measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from faceverif.training.logs.step_figures import StepFigures


@dataclass
class Interval:
    """Sums over some steps; part of a checkpoint, so that a resumed run writes the same rows.

    Attributes:
        steps: how many.
        loss, accuracy, all_negative, gradient_norm: sums of their figures.
    """

    steps: int = 0
    loss: float = 0.0
    accuracy: float = 0.0
    all_negative: float = 0.0
    gradient_norm: float = 0.0

    def __post_init__(self) -> None:
        self._timed_steps, self._seconds = 0, 0.0

    @classmethod
    def of(cls, sums: Mapping[str, float]) -> Interval:
        """The interval that gave that state; earlier versions did not measure `all_negative`."""
        others = {key: value for key, value in sums.items() if key != "steps"}
        return cls(int(sums["steps"]), **others)

    def add(self, figures: StepFigures, *, seconds: float) -> None:
        """Count a step in, which took so long."""
        self.steps += 1
        self._timed_steps += 1
        self._seconds += seconds
        self.loss += figures.loss
        self.accuracy += figures.accuracy
        self.all_negative += figures.all_negative
        self.gradient_norm += figures.gradient_norm

    def means(self) -> dict[str, float]:
        """The figures per step."""
        return {key: value / self.steps for key, value in self.state().items() if key != "steps"}

    def state(self) -> dict[str, float]:
        """The sums, for a checkpoint."""
        return asdict(self)

    @property
    def steps_per_s(self) -> float:
        """Pace of the steps that this object has counted; what lies between epochs is no part of it."""
        return self._timed_steps / max(self._seconds, 1e-9)
