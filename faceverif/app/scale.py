"""Where a similarity lies among those of genuine and impostor pairs, as numbers that a page can draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceverif.verification.calibration import Calibration
from faceverif.verification.score_histogram import BINS, bin_edges

_STEP = 0.1  # the scale begins at a multiple of it
_TICKS = 0.2
_SHARE_SHOWN = 1e-4  # of the pairs; rarer scores do not widen the scale
_USUAL_LOW = -0.2  # where nothing is stored about the scores


@dataclass(frozen=True)
class Mark:
    """A line across the scale.

    Attributes:
        words: what stands beside it.
        value: the similarity.
        percent: its place from the left, 0 to 100.
    """

    words: str
    value: float
    percent: float


@dataclass(frozen=True)
class Scale:
    """A drawing of the range of similarities.

    Attributes:
        marks: the similarities that were measured.
        threshold: what decides.
        ticks: round numbers along the axis.
        genuine, impostor: outlines in a box of 100 x 100, as the `d` of an SVG path; empty where the
            calibration does not hold how the scores are spread.
    """

    marks: tuple[Mark, ...]
    threshold: Mark
    ticks: tuple[Mark, ...]
    genuine: str
    impostor: str

    @property
    def text(self) -> str:
        """For those who do not see the drawing."""
        measured = "; ".join(f"{mark.words} {mark.value:.3f}" for mark in self.marks)
        ends = "Scale of similarities from different people to the same person"
        return f"{ends}. {measured}; threshold {self.threshold.value:.3f}."


def scale_of(calibration: Calibration, threshold: float, marks: Sequence[tuple[str, float]]) -> Scale:
    """The scale of a model.

    Args:
        calibration: of the model.
        threshold: what decides.
        marks: words and similarity of each comparison.
    """
    low = _low_end(calibration, [threshold, *(value for _, value in marks)])

    def mark(words: str, value: float) -> Mark:
        return Mark(words, value, 100 * (min(max(value, low), 1.0) - low) / (1 - low))

    first = math.ceil(low / _TICKS - 1e-9)
    ticks = tuple(mark(f"{n * _TICKS:.1f}", n * _TICKS) for n in range(first, round(1 / _TICKS) + 1))
    spread = calibration.scores
    return Scale(
        tuple(mark(*each) for each in marks),
        mark("threshold", threshold),
        ticks,
        "" if spread is None else _outline(np.array(spread.genuine), low),
        "" if spread is None else _outline(np.array(spread.impostor), low),
    )


def _low_end(calibration: Calibration, shown: Sequence[float]) -> float:
    lows = [*shown, _USUAL_LOW]
    if calibration.scores is not None:
        counts = np.array(calibration.scores.impostor) + np.array(calibration.scores.genuine)
        usual = np.flatnonzero(counts > _SHARE_SHOWN * counts.sum())
        lows = [*shown, float(bin_edges()[usual[0]])]
    return max(-1.0, min(math.floor(min(lows) / _STEP - 1e-9) * _STEP, 0.0))


def _outline(counts: NDArray[np.int64], low: float) -> str:
    """Steps of the counts from `low` to 1, as high as the box at the most frequent bin."""
    edges = bin_edges()
    first = int(np.searchsorted(edges, low + 1e-9) - 1)
    places = 100 * (edges[first:] - low) / (1 - low)
    heights = 100 - 96 * counts[first:BINS] / counts.max()
    steps = "".join(f"V{height:.2f}H{end:.2f}" for height, end in zip(heights, places[1:], strict=True))
    return f"M{places[0]:.2f} 100{steps}V100Z"
