"""Intervals: exact ones of shares; of AUC and EER a bootstrap over images, all draws at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceverif.intervals import exact_interval

INTERVAL_RULE = (
    "95 % with fixed thresholds: of a share the exact interval of Clopper and Pearson, of AUC and EER the "
    "percentile bootstrap over images. Each drawn image contributes its clean and its attacked score"
)

_TAIL_PERCENT = 2.5
# Counts of one portion of the draws; as 8-byte numbers 64 MB.
_PORTION = 2**23


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval.

    Attributes:
        value: on all images.
        low, high: of the 95 % interval.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of_draws(cls, value: float, drawn: NDArray[np.float64]) -> Estimate:
        """The figure with the percentile interval of its draws, (draws,)."""
        low, high = np.percentile(drawn, (_TAIL_PERCENT, 100 - _TAIL_PERCENT))
        return cls(float(value), min(float(low), value), max(float(high), value))

    @classmethod
    def of_share(cls, hits: NDArray[np.bool_]) -> Estimate:
        """The share of hits, (N,), N >= 1, with its exact interval."""
        return cls(float(hits.mean()), *exact_interval(int(hits.sum()), len(hits)))


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
        self._of_itself = float(((attacked > clean) + 0.5 * (attacked == clean)).mean())
        self._images = len(clean)
        self._image = order % len(clean)
        self._is_attacked = order >= len(clean)
        self._last_of_tie = np.append(np.flatnonzero(np.diff(pooled[order])), len(pooled) - 1)

    def auc_bias(self, auc: float) -> float:
        """How much larger the AUC of drawn images is on average than that of all images.

        In a draw of n, an image meets itself 2 - 1/n times on average, and any other image 1 - 1/n times.

        Args:
            auc: of all images.
        """
        return (self._of_itself - auc) / self._images

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
