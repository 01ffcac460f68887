"""Bootstrap over images: all draws at once, the same draws for every figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INTERVAL_RULE = (
    "95 % percentile bootstrap over images with fixed thresholds. Each drawn image contributes its clean and "
    "its attacked score. A share of 0 or 100 % has the exact interval of Clopper and Pearson"
)

_TAIL_PERCENT = 2.5
# Counts of one portion of the draws; as 8-byte numbers 64 MB.
_PORTION = 2**23


@dataclass(frozen=True)
class Estimate:
    """A figure and its bootstrap interval.

    Attributes:
        value: on all images.
        low, high: of the 95 % interval.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, drawn: NDArray[np.float64]) -> Estimate:
        """The figure with the interval of its draws, (draws,); NaN where a draw left it undefined."""
        if np.isnan(value):
            return cls(value, value, value)
        low, high = np.nanpercentile(drawn, (_TAIL_PERCENT, 100 - _TAIL_PERCENT))
        return cls(float(value), float(low), float(high))

    @classmethod
    def of_share(cls, value: float, drawn: NDArray[np.float64], *, whole: int) -> Estimate:
        """`of` for a share of `whole` images; a share of 0 or 1 gets the exact interval, not an empty one."""
        furthest = (_TAIL_PERCENT / 100) ** (1 / whole) if whole else np.nan
        if value == 0:
            return cls(0.0, 0.0, 1.0 - furthest)
        return cls(1.0, furthest, 1.0) if value == 1 else cls.of(value, drawn)


def drawn_counts(images: int, *, draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each image is drawn, (some draws, images), portion by portion.

    Args:
        images: how many there are.
        draws: how many times as many are drawn with replacement.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    portion = max(1, _PORTION // images)
    for begin in range(0, draws, portion):
        rows = min(portion, draws - begin)
        chosen = generator.integers(images, size=(rows, images)) + images * np.arange(rows)[:, None]
        yield np.bincount(chosen.ravel(), minlength=rows * images).reshape(rows, images)


class DrawnRoc:
    """AUC and EER of clean against attacked scores, for many weightings of the images at once.

    Args:
        clean: (N,) scores.
        attacked: (N,) scores of the same images after the attack.
    """

    def __init__(self, clean: NDArray[np.float64], attacked: NDArray[np.float64]) -> None:
        pooled = np.concatenate([clean, attacked])
        order = np.argsort(-pooled, kind="stable")
        self._image = order % len(clean)
        self._is_attacked = order >= len(clean)
        self._last_of_tie = np.append(np.flatnonzero(np.diff(pooled[order])), len(pooled) - 1)

    def rates(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """AUC and EER, (draws,) each, of images drawn so often, (draws, N).

        The same definitions as in `faceverif.verification.roc`.
        """
        weights = counts[:, self._image]
        true, false = (
            np.cumsum(weights * side, axis=1)[:, self._last_of_tie]
            for side in (self._is_attacked, ~self._is_attacked)
        )
        true, false = (np.pad(sums, ((0, 0), (1, 0))) for sums in (true, false))
        images = counts.sum(axis=1)
        area = (np.diff(false, axis=1) * (true[:, 1:] + true[:, :-1])).sum(axis=1)
        missed = images[:, None] - true
        meeting = np.abs(false - missed).argmin(axis=1)
        rows = np.arange(len(counts))
        errors = false[rows, meeting] + missed[rows, meeting]
        return area / (2.0 * images**2), errors / (2.0 * images)
