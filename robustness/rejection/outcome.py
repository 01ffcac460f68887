"""All figures of one attack and one detector, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data_prep.errors import InputError
from faceverif.verification.roc import Roc, area_under, equal_error_rate, roc_curve
from robustness.attacks.base import AttackResult
from robustness.detectors.rejection_threshold import RejectionThreshold
from robustness.rejection.bootstrap import DrawnRoc, Estimate, drawn_counts

DRAWS = 1000


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
        if self.zero_gradient is None or not self.clean_correct.any():
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
            rejected; None if none is initially correct.
    """

    point: RejectionThreshold
    false_rejection: Estimate
    detection: Estimate
    detection_of_successes: Estimate | None
    undetected_success: Estimate | None


@dataclass(frozen=True)
class Outcome:
    """One attack against one detector.

    Attributes:
        images: how many.
        clean_accuracy: share that is correct before the attack.
        accuracy: share that is correct after it.
        success: share of the initially correct images on which the attack succeeds; None if there is none.
        zero_gradient_share: share of these whose first gradient was zero; None if none was asked for.
        auc, eer: of all clean scores against all attacked ones, as in L-GM, Fig. 5; accepted means
            taken for attacked.
        successes_auc, successes_eer: of all clean scores against those of the successful attacks; None if
            none succeeds.
        detections: at each operating point.
    """

    images: int
    clean_accuracy: Estimate
    accuracy: Estimate
    success: Estimate | None
    zero_gradient_share: float | None
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
    draws: int = DRAWS,
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
        InputError: other numbers of scores than images, or scores that are not finite.
    """
    clean, attacked = (
        _checked(scores, name, images=len(verdicts.correct))
        for scores, name in ((clean_scores, "clean_scores"), (attacked_scores, "attacked_scores"))
    )
    curve = DrawnRoc(clean, attacked)
    drawn = [curve.rates(counts) for counts in drawn_counts(len(clean), draws=draws, seed=seed)]
    aucs, eers = (np.concatenate(rates) for rates in zip(*drawn, strict=True))
    roc = clean_against_attacked(clean, attacked)
    auc = area_under(roc)
    successes = attacked[verdicts.success]
    of_successes = clean_against_attacked(clean, successes) if len(successes) else None
    return Outcome(
        images=len(clean),
        clean_accuracy=Estimate.of_share(verdicts.clean_correct),
        accuracy=Estimate.of_share(verdicts.correct),
        success=_share(verdicts.success, among=verdicts.clean_correct),
        zero_gradient_share=verdicts.zero_gradient_share,
        auc=Estimate.of_draws(auc, aucs - curve.auc_bias(auc)),
        eer=Estimate.of_draws(equal_error_rate(roc).equal_error, eers),
        successes_auc=area_under(of_successes) if of_successes else None,
        successes_eer=equal_error_rate(of_successes).equal_error if of_successes else None,
        detections=tuple(_detection(point, verdicts, clean, attacked) for point in points),
    )


def _detection(
    point: RejectionThreshold, verdicts: Verdicts, clean: NDArray[np.float64], attacked: NDArray[np.float64]
) -> Detection:
    rejected, success = point.rejects(attacked), verdicts.success
    return Detection(
        point=point,
        false_rejection=Estimate.of_share(point.rejects(clean)),
        detection=Estimate.of_share(rejected),
        detection_of_successes=_share(rejected, among=success),
        undetected_success=_share(success & ~rejected, among=verdicts.clean_correct),
    )


def _share(hits: NDArray[np.bool_], *, among: NDArray[np.bool_]) -> Estimate | None:
    """(N,) each; None where there are no images to count among."""
    return Estimate.of_share(hits[among]) if among.any() else None


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
