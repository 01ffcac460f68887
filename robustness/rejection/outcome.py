"""All figures of one attack and one detector, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data_prep.errors import InputError
from faceverif.verification.roc import Roc, area_under, equal_error_rate, roc_curve
from robustness.attacks.base import AttackResult
from robustness.detectors.rejection_threshold import RejectionThreshold
from robustness.rejection.bootstrap import DrawnRoc, Estimate, drawn_counts

_DRAWS = 1000


@dataclass(frozen=True)
class Verdicts:
    """The model's decisions on each image before and after the attack.

    Attributes:
        clean_correct: (N,) bool, correct before the attack.
        correct: (N,) bool, correct after it.
        success: (N,) bool, initially correct, and the attack reaches its goal.
        zero_gradient: (N,) bool, the first gradient was zero everywhere; None where none was asked for.
    """

    clean_correct: NDArray[np.bool_]
    correct: NDArray[np.bool_]
    success: NDArray[np.bool_]
    zero_gradient: NDArray[np.bool_] | None

    @classmethod
    def of(cls, result: AttackResult) -> Verdicts:
        """The verdicts of an attack."""
        zero = result.zero_gradient
        return cls(
            result.clean_correct.numpy(),
            result.attacked.correct.numpy(),
            result.success.numpy(),
            None if zero is None else zero.numpy(),
        )

    @property
    def zero_gradient_share(self) -> float | None:
        """Share of the initially correct images without a gradient to follow: a sign of false robustness."""
        if self.zero_gradient is None:
            return None
        return float((self.zero_gradient & self.clean_correct).sum() / self.clean_correct.sum())


@dataclass(frozen=True)
class Detection:
    """A detector at one threshold against one attack; shares with intervals.

    Attributes:
        point: the threshold, from calibration data.
        false_rejection: share of these clean images rejected.
        detection: share of all attacked images rejected.
        detection_of_successes: share of the successful attacks rejected; None if none succeeds.
        undetected_success: share of the initially correct images on which the attack succeeds and is not
            rejected.
    """

    point: RejectionThreshold
    false_rejection: Estimate
    detection: Estimate
    detection_of_successes: Estimate | None
    undetected_success: Estimate


@dataclass(frozen=True)
class Outcome:
    """One attack against one detector.

    Attributes:
        images: how many.
        clean_accuracy: share that is correct before the attack.
        accuracy: share that is correct after it.
        success: share of the initially correct images on which the attack succeeds.
        zero_gradient_share: share of these whose first gradient was zero; None if none was asked for.
        roc: all clean scores against all attacked ones, as in L-GM, Fig. 5; accepted means
            taken for attacked.
        auc, eer: of that curve.
        successes_auc, successes_eer: of all clean scores against those of the successful attacks; None if
            none succeeds.
        detections: at each operating point.
    """

    images: int
    clean_accuracy: Estimate
    accuracy: Estimate
    success: Estimate
    zero_gradient_share: float | None
    roc: Roc
    auc: Estimate
    eer: Estimate
    successes_auc: float | None
    successes_eer: float | None
    detections: tuple[Detection, ...]


def clean_against_attacked(clean: NDArray[np.float64], attacked: NDArray[np.float64]) -> Roc:
    """The ROC of telling attacked from clean by their scores, (N,) and (M,)."""
    scores = np.concatenate([clean, attacked])
    return roc_curve(scores, np.arange(len(scores)) >= len(clean))


def measure_outcome(
    verdicts: Verdicts,
    clean_scores: ArrayLike,
    attacked_scores: ArrayLike,
    *,
    points: Sequence[RejectionThreshold],
    seed: int,
    draws: int = _DRAWS,
) -> Outcome:
    """Every figure of one attack against one detector.

    Args:
        verdicts: of the attack.
        clean_scores: (N,) of the same images before the attack.
        attacked_scores: (N,) after it.
        points: thresholds from calibration data, which are not these images.
        seed: of the bootstrap.
        draws: of the bootstrap.

    Raises:
        InputError: other numbers of scores than images, scores that are not finite, or no image that is
            correct before the attack.
    """
    clean, attacked = (
        _checked(scores, name, images=len(verdicts.correct))
        for scores, name in ((clean_scores, "clean_scores"), (attacked_scores, "attacked_scores"))
    )
    if not verdicts.clean_correct.any():
        raise InputError(
            "images",
            "must hold some that the model classifies correctly before the attack",
            got=f"none of {len(clean)}",
            fix="Check that labels and model belong together.",
        )
    shares = _Shares(_decided(verdicts) | _rejected(verdicts, clean, attacked, points))
    drawn_shares, drawn_rates = [], []
    curve = DrawnRoc(clean, attacked)
    for counts in drawn_counts(len(clean), draws=draws, seed=seed):
        drawn_shares.append(shares.of(counts))
        drawn_rates.append(np.stack(curve.rates(counts)))
    estimates = shares.estimates(np.concatenate(drawn_shares, axis=1))
    roc, (aucs, eers) = clean_against_attacked(clean, attacked), np.concatenate(drawn_rates, axis=1)
    successes = attacked[verdicts.success]
    of_successes = clean_against_attacked(clean, successes) if len(successes) else None
    return Outcome(
        images=len(clean),
        clean_accuracy=estimates["clean_accuracy"],
        accuracy=estimates["accuracy"],
        success=estimates["success"],
        zero_gradient_share=verdicts.zero_gradient_share,
        roc=roc,
        auc=Estimate.of(area_under(roc), aucs),
        eer=Estimate.of(equal_error_rate(roc).equal_error, eers),
        successes_auc=area_under(of_successes) if of_successes else None,
        successes_eer=equal_error_rate(of_successes).equal_error if of_successes else None,
        detections=tuple(_detection(point, estimates, any_success=len(successes) > 0) for point in points),
    )


# A share by what it is of: (N,) bool, which images count, and among which others.
_Parts = dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]


def _decided(verdicts: Verdicts) -> _Parts:
    everyone = np.ones(len(verdicts.correct), bool)
    return {
        "clean_accuracy": (verdicts.clean_correct, everyone),
        "accuracy": (verdicts.correct, everyone),
        "success": (verdicts.success, verdicts.clean_correct),
    }


def _rejected(
    verdicts: Verdicts,
    clean: NDArray[np.float64],
    attacked: NDArray[np.float64],
    points: Sequence[RejectionThreshold],
) -> _Parts:
    """The shares of `Detection` at every threshold."""
    everyone, success = np.ones(len(clean), bool), verdicts.success
    parts: _Parts = {}
    for point in points:
        rejected = point.rejects(attacked)
        parts |= {
            _at(point, "false_rejection"): (point.rejects(clean), everyone),
            _at(point, "detection"): (rejected, everyone),
            _at(point, "detection_of_successes"): (rejected & success, success),
            _at(point, "undetected_success"): (~rejected & success, verdicts.clean_correct),
        }
    return parts


def _at(point: RejectionThreshold, name: str) -> str:
    return f"{name} at {point.false_rejection_rate!r}"


def _detection(
    point: RejectionThreshold, estimates: Mapping[str, Estimate], *, any_success: bool
) -> Detection:
    return Detection(
        point=point,
        false_rejection=estimates[_at(point, "false_rejection")],
        detection=estimates[_at(point, "detection")],
        detection_of_successes=estimates[_at(point, "detection_of_successes")] if any_success else None,
        undetected_success=estimates[_at(point, "undetected_success")],
    )


class _Shares:
    """Shares as quotients of counts, so that two matrix products give all draws of all shares.

    Args:
        parts: by name.
    """

    def __init__(self, parts: _Parts) -> None:
        self._names = list(parts)
        self._parts, self._wholes = (
            np.stack(side, axis=1).astype(np.float64) for side in zip(*parts.values(), strict=True)
        )

    def of(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """(shares, draws) of images drawn so often, (draws, N); NaN where a whole is empty."""
        drawn = counts.astype(np.float64)
        part, whole = drawn @ self._parts, drawn @ self._wholes
        return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0).T

    def estimates(self, drawn: NDArray[np.float64]) -> dict[str, Estimate]:
        """Every share by name, with the interval of its draws, (shares, draws)."""
        values = self.of(np.ones((1, len(self._parts)), np.int64))[:, 0]
        wholes = self._wholes.sum(axis=0).astype(int).tolist()
        return {
            name: Estimate.of_share(value, of_draws, whole=whole)
            for name, value, of_draws, whole in zip(self._names, values, drawn, wholes, strict=True)
        }


def _checked(scores: ArrayLike, name: str, *, images: int) -> NDArray[np.float64]:
    numbers = np.asarray(scores, dtype=np.float64)
    if numbers.shape != (images,):
        raise InputError(
            name,
            f"must have one score per image, ({images},)",
            got=numbers.shape,
            fix="Score the same images.",
        )
    if not np.isfinite(numbers).all():
        raise InputError(name, "must be finite", got="NaN or infinity", fix="Check detector and model.")
    return numbers
