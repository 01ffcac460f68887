"""Thresholds of detectors at a stated false-rejection rate, with a guarantee for finitely many data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data_prep.errors import InputError
from robustness.calibration_size import smallest_calibration, smallest_rate

CALIBRATION_RULE = (
    "split conformal: the threshold is the ceil((n + 1)(1 - rate))-th smallest of n clean scores, and higher "
    "scores are rejected. On average over calibration sets, a new clean image from the same distribution is "
    "rejected with probability at most the rate, and without ties at least the rate - 1 / (n + 1). Images of "
    "the classes are divided at random into those that calibrate and those that are attacked"
)


@dataclass(frozen=True)
class RejectionThreshold:
    """A detector's threshold.

    Attributes:
        threshold: higher scores are rejected.
        false_rejection_rate: largest expected share of new clean images that are rejected.
        calibration_size: number of clean scores that the threshold comes from.
    """

    threshold: float
    false_rejection_rate: float
    calibration_size: int

    def rejects(self, scores: ArrayLike) -> NDArray[np.bool_]:
        """Which of these scores, (N,), are rejected."""
        return np.asarray(scores, dtype=np.float64) > self.threshold


def calibrate(clean_scores: ArrayLike, false_rejection_rate: float) -> RejectionThreshold:
    """The threshold that rejects at most that share of clean images: see `CALIBRATION_RULE`.

    Vovk et al., "Algorithmic Learning in a Random World" (2005); Lei et al. (2018), Theorem 2.

    Args:
        clean_scores: (n,) scores of clean images on which neither the model nor the detector was fitted, and
            which are not evaluated.
        false_rejection_rate: in (0, 1).

    Raises:
        InputError: a rate out of range, scores that are not finite, or too few of them for that rate.
    """
    scores = np.sort(np.asarray(clean_scores, dtype=np.float64).ravel())
    if not 0 < false_rejection_rate < 1:
        raise InputError(
            "false_rejection_rate", "must lie in (0, 1)", got=false_rejection_rate, fix="0.01 is 1 %."
        )
    if not np.isfinite(scores).all():
        raise InputError("clean_scores", "must be finite", got="NaN or infinity", fix="Check the detector.")
    needed = smallest_calibration(false_rejection_rate)
    if len(scores) < needed:
        raise InputError(
            "clean_scores",
            f"must be at least {needed:,} for a false-rejection rate of {false_rejection_rate:g}",
            got=f"{len(scores):,}",
            fix=f"Calibrate on more clean images, or ask for {smallest_rate(len(scores))} or more.",
        )
    # Rounding errors must not raise a whole number to the next.
    rank = math.ceil((len(scores) + 1) * (1.0 - false_rejection_rate) - 1e-9)
    return RejectionThreshold(float(scores[max(rank, 1) - 1]), false_rejection_rate, len(scores))
