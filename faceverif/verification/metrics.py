"""What a protocol measures: accuracy fold by fold, and the ROC of the pooled scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceverif.verification.roc import EER_POINT_RULE, RocNumbers, roc_curve

THRESHOLD_RULE = (
    "most accurate threshold on all other folds, midway between two neighbouring scores; "
    "of several equally accurate ones the middle one"
)
EER_RULE = f"pooled scores of the scored folds; {EER_POINT_RULE}"


@dataclass(frozen=True)
class FoldAccuracy:
    """Accuracy of each scored fold, at the threshold of all the others.

    Attributes:
        folds: (scored folds,) their numbers.
        thresholds: (scored folds,) read from the other folds.
        accuracies: (scored folds,) fractions.
        correct: (pairs,) True where a scored pair was decided correctly; False outside the scored folds.
        pairs: (scored folds,) pairs in each.
    """

    folds: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    accuracies: NDArray[np.float64]
    correct: NDArray[np.bool_]
    pairs: NDArray[np.int64]

    @property
    def mean(self) -> float:
        """Mean of the folds' accuracies."""
        return float(self.accuracies.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean over folds (ddof = 1); of one scored fold the binomial one."""
        count = len(self.accuracies)
        if count == 1:
            return math.sqrt(self.mean * (1.0 - self.mean) / int(self.pairs[0]))
        return float(self.accuracies.std(ddof=1)) / math.sqrt(count)

    @property
    def standard_error_rule(self) -> str:
        """How `standard_error` was made, in words."""
        if len(self.accuracies) == 1:
            return "binomial: sqrt(p (1 - p) / pairs) of the one scored fold"
        return f"standard deviation of {len(self.accuracies)} folds (ddof 1) / sqrt({len(self.accuracies)})"


@dataclass(frozen=True)
class VerificationMetrics(RocNumbers):
    """All numbers of one protocol run; those of the ROC come from the pooled scores of the scored folds.

    Attributes:
        folds: accuracy fold by fold.
        pooled: (pairs,) the score of each pair, as its own fold sees it.
    """

    folds: FoldAccuracy
    pooled: NDArray[np.float64]


def best_threshold(scores: NDArray[np.floating], same: NDArray[np.bool_]) -> float:
    """The threshold that decides the most pairs correctly: see `THRESHOLD_RULE`.

    Args:
        scores: (pairs,).
        same: (pairs,).
    """
    roc = roc_curve(scores, same)
    correct = roc.true_accepts - roc.false_accepts
    best = np.flatnonzero(correct == correct.max())
    middle = int(best[(len(best) - 1) // 2])
    above = float(roc.thresholds[middle])
    if middle + 1 == len(roc.thresholds):
        return above  # accepts everything: there is no lower score to keep away from
    below = float(roc.thresholds[middle + 1])
    midway = below + (above - below) / 2
    return midway if midway > below else above  # neighbouring floats have nothing between them


def fold_accuracy(
    scores: NDArray[np.floating],
    same: NDArray[np.bool_],
    fold: NDArray[np.int64],
    *,
    scored_folds: tuple[int, ...],
) -> FoldAccuracy:
    """Accuracy of each scored fold at the best threshold of all other folds.

    Args:
        scores: (pairs,), or (scored folds, pairs) where each scored fold sees scores of its own, as with mean
            subtraction.
        same: (pairs,).
        fold: (pairs,).
        scored_folds: the folds that count.
    """
    seen = np.broadcast_to(scores, (len(scored_folds), len(same)))
    thresholds, correct = np.empty(len(scored_folds)), np.zeros(len(same), dtype=bool)
    for index, number in enumerate(scored_folds):
        test = fold == number
        thresholds[index] = best_threshold(seen[index, ~test], same[~test])
        correct[test] = (seen[index, test] >= thresholds[index]) == same[test]
    return FoldAccuracy(
        folds=np.array(scored_folds),
        thresholds=thresholds,
        accuracies=np.array([correct[fold == number].mean() for number in scored_folds]),
        correct=correct,
        pairs=np.array([(fold == number).sum() for number in scored_folds]),
    )


def measure(
    scores: NDArray[np.floating],
    same: NDArray[np.bool_],
    fold: NDArray[np.int64],
    *,
    scored_folds: tuple[int, ...],
) -> VerificationMetrics:
    """Every number of a protocol; arguments as for `fold_accuracy`."""
    scores = np.asarray(scores, dtype=np.float64)
    folds = fold_accuracy(scores, same, fold, scored_folds=scored_folds)
    pooled = np.array(np.broadcast_to(scores, (len(scored_folds), len(same)))[0])
    for index, number in enumerate(scored_folds if scores.ndim == 2 else ()):
        pooled[fold == number] = scores[index, fold == number]
    scored = np.isin(fold, scored_folds)
    of_all = RocNumbers.of(pooled[scored], same[scored])
    return VerificationMetrics(of_all.roc, of_all.auc, of_all.eer, of_all.tar_at_far, folds, pooled)
