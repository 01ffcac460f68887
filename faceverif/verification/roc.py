"""The ROC of scored pairs, and what is read from it: exact thresholds from the sorted scores, no grid.

A pair is accepted when `score >= threshold`. FAR is the share of impostor pairs accepted, FRR the share of
genuine pairs rejected, TAR = 1 - FRR; all are fractions. Every number comes from counts, so ties are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError
from faceverif.report.numbers import one_in

EER_POINT_RULE = (
    "threshold with the smallest |FAR - FRR|, of two the higher; the EER is (FAR + FRR) / 2 there"
)
TAR_RULE = "lowest threshold whose FAR does not exceed the target; needs at least 1 / FAR impostor pairs"

TARGET_FARS = (0.1, 0.01, 0.001, 0.0001)


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it does to the pairs it was read from.

    Attributes:
        threshold: accept a pair from this score on.
        far: share of the impostor pairs accepted.
        frr: share of the genuine pairs rejected.
        false_accepts: number of impostor pairs accepted.
        false_rejects: number of genuine pairs rejected.
    """

    threshold: float
    far: float
    frr: float
    false_accepts: int
    false_rejects: int

    @property
    def tar(self) -> float:
        """Share of the genuine pairs accepted."""
        return 1.0 - self.frr

    @property
    def equal_error(self) -> float:
        """(FAR + FRR) / 2: the EER where both rates meet."""
        return (self.far + self.frr) / 2


@dataclass(frozen=True)
class Roc:
    """The step-wise ROC: what each distinct score does as a threshold.

    Attributes:
        thresholds: (points,) float64, falling; the first lies just above every score and accepts nothing.
        true_accepts: (points,) int64, genuine pairs accepted.
        false_accepts: (points,) int64, impostor pairs accepted.
    """

    thresholds: NDArray[np.float64]
    true_accepts: NDArray[np.int64]
    false_accepts: NDArray[np.int64]

    @property
    def genuine(self) -> int:
        """Number of genuine pairs."""
        return int(self.true_accepts[-1])

    @property
    def impostors(self) -> int:
        """Number of impostor pairs."""
        return int(self.false_accepts[-1])

    @property
    def far(self) -> NDArray[np.float64]:
        """(points,) false accept rate, rising."""
        return self.false_accepts / self.impostors

    @property
    def tar(self) -> NDArray[np.float64]:
        """(points,) true accept rate, rising."""
        return self.true_accepts / self.genuine

    def thinned(self, most: int) -> Roc:
        """A curve for drawing: `most` of its points, evenly over the logarithm of the FAR, or all."""
        if len(self.thresholds) <= most:
            return self
        counts = np.unique(np.geomspace(1, self.impostors, most).astype(np.int64))
        kept = np.unique(np.searchsorted(self.false_accepts, np.append(0, counts), side="right") - 1)
        return Roc(self.thresholds[kept], self.true_accepts[kept], self.false_accepts[kept])

    def point(self, index: int) -> OperatingPoint:
        """The operating point at `thresholds[index]`."""
        false_accepts = int(self.false_accepts[index])
        false_rejects = self.genuine - int(self.true_accepts[index])
        return OperatingPoint(
            threshold=float(self.thresholds[index]),
            far=false_accepts / self.impostors,
            frr=false_rejects / self.genuine,
            false_accepts=false_accepts,
            false_rejects=false_rejects,
        )


@dataclass(frozen=True)
class RocNumbers:
    """What is read from the sorted scores of pairs, without folds.

    Attributes:
        roc: the curve.
        auc: area under it, ties counted half.
        eer: the operating point where FAR and FRR meet.
        tar_at_far: target FAR -> operating point; None where too few impostor pairs resolve it.
    """

    roc: Roc
    auc: float
    eer: OperatingPoint
    tar_at_far: dict[float, OperatingPoint | None]

    @classmethod
    def of(
        cls, scores: NDArray[np.floating], same: NDArray[np.bool_], *, fars: Sequence[float] = TARGET_FARS
    ) -> RocNumbers:
        """Measure; arguments and errors as of `roc_curve`, `fars` are the targets."""
        roc = roc_curve(scores, same)
        points = {far: tar_at_far(roc, far) if resolves(far, roc.impostors) else None for far in fars}
        return cls(roc, area_under(roc), equal_error_rate(roc), points)


def roc_curve(scores: NDArray[np.floating], same: NDArray[np.bool_]) -> Roc:
    """The step-wise ROC, one point per distinct score.

    Args:
        scores: (pairs,), higher = more alike.
        same: (pairs,), True for genuine pairs.

    Raises:
        InputError: genuine or impostor pairs are missing.
        ValueError: a score is not finite.
    """
    scores = np.asarray(scores, dtype=np.float64)
    same = np.asarray(same, dtype=bool)
    if not np.isfinite(scores).all():
        raise ValueError("roc_curve: scores must be finite")
    if same.all() or not same.any():
        raise InputError(
            "protocol",
            "must hold genuine and impostor pairs, among the scored folds and outside each of them",
            got=f"{int(same.sum())} genuine, {int((~same).sum())} impostor",
            fix="Use a pair file with both kinds in every fold.",
        )
    order = np.argsort(-scores)
    falling, true_accepts = scores[order], np.cumsum(same[order])
    last_of_tie = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    false_accepts = last_of_tie + 1 - true_accepts[last_of_tie]
    return Roc(
        thresholds=np.append(np.nextafter(falling[0], np.inf), falling[last_of_tie]),
        true_accepts=np.append(0, true_accepts[last_of_tie]),
        false_accepts=np.append(0, false_accepts),
    )


def area_under(roc: Roc) -> float:
    """AUC: the chance that a genuine pair scores higher than an impostor pair, a tie counting half."""
    width = np.diff(roc.false_accepts)
    twice_height = roc.true_accepts[1:] + roc.true_accepts[:-1]
    return float(width @ twice_height) / (2 * roc.genuine * roc.impostors)


def equal_error_rate(roc: Roc) -> OperatingPoint:
    """Where FAR and FRR meet: see `EER_POINT_RULE`; the rate itself is the point's `equal_error`."""
    false_rejects = roc.genuine - roc.true_accepts
    # In counts, so that a tie is a tie: |FAR - FRR| * genuine * impostors.
    gap = np.abs(roc.false_accepts * roc.genuine - false_rejects * roc.impostors)
    return roc.point(int(gap.argmin()))


def resolves(far: float, impostors: int) -> bool:
    """Whether this number of impostor pairs can measure the FAR: a single false accept must not exceed it."""
    return far * impostors >= 1.0 - 1e-9


def chosen_far(far: float | None, impostors: int) -> float:
    """The false accept rate that was asked for, or 0.01, or 0.1 where too few impostor pairs resolve that.

    Raises:
        InputError: they do not resolve it.
    """
    wanted = far if far is not None else 0.01 if resolves(0.01, impostors) else 0.1
    if not 0 < wanted <= 1:
        rule = "must lie above 0 and be at most 1"
        raise InputError("far", rule, got=f"{wanted:g}", fix="Give a rate such as 0.01.")
    if not resolves(wanted, impostors):
        raise _unresolved(wanted, impostors)
    return wanted


def pairs_to_resolve(far: float) -> int:
    """The fewest impostor pairs that resolve a FAR."""
    return math.ceil(1 / far - 1e-9)


def _unresolved(far: float, impostors: int, *, field: str = "far", protocol: str = "protocol") -> InputError:
    rate = f"Ask for {one_in(impostors)} or more, or use" if impostors else "Use"
    return InputError(
        field,
        f"must be resolvable: {far:g} needs at least {pairs_to_resolve(far):,} impostor pairs",
        got=f"{impostors:,}",
        fix=f"{rate} a {protocol} with more impostor pairs.",
    )


def tar_at_far(roc: Roc, far: float, *, field: str = "far", protocol: str = "protocol") -> OperatingPoint:
    """The operating point with the most genuine pairs accepted at a FAR of at most `far`.

    Args:
        roc: of the pairs.
        far: the target.
        field, protocol: what the user calls the target, and the list of the pairs.

    Raises:
        InputError: fewer than 1 / far impostor pairs.
    """
    if not resolves(far, roc.impostors):
        raise _unresolved(far, roc.impostors, field=field, protocol=protocol)
    allowed = math.floor(far * roc.impostors + 1e-9)
    return roc.point(int(np.searchsorted(roc.false_accepts, allowed, side="right")) - 1)
