"""Metrics against brute force over every threshold, and against what must not change them."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_prep.errors import InputError
from faceverif.verification.metrics import best_threshold, fold_accuracy, measure
from faceverif.verification.roc import area_under, equal_error_rate, roc_curve, tar_at_far

Pairs = tuple[NDArray[np.float64], NDArray[np.bool_]]


@st.composite
def scored_pairs(draw: st.DrawFn) -> Pairs:
    """Few distinct scores, so that ties are the rule; both kinds of pair are there."""
    genuine = draw(st.lists(st.integers(-4, 6), min_size=1, max_size=25))
    impostor = draw(st.lists(st.integers(-6, 4), min_size=1, max_size=25))
    scores = np.array(genuine + impostor, dtype=np.float64) / 8
    same = np.array([True] * len(genuine) + [False] * len(impostor))
    order = draw(st.permutations(range(len(scores))))
    return scores[list(order)], same[list(order)]


def every_threshold(scores: NDArray[np.float64]) -> list[float]:
    return [float(np.nextafter(scores.max(), np.inf)), *sorted({float(s) for s in scores}, reverse=True)]


def rates(
    scores: NDArray[np.float64], same: NDArray[np.bool_], threshold: float
) -> tuple[Fraction, Fraction]:
    genuine = [s for s, y in zip(scores, same, strict=True) if y]
    impostor = [s for s, y in zip(scores, same, strict=True) if not y]
    far = Fraction(sum(s >= threshold for s in impostor), len(impostor))
    frr = Fraction(sum(s < threshold for s in genuine), len(genuine))
    return far, frr


@given(scored_pairs())
def test_auc_is_the_share_of_ordered_pairs(pairs: Pairs) -> None:
    scores, same = pairs
    won = [
        1.0 if g > i else 0.5 if g == i else 0.0 for g, i in itertools.product(scores[same], scores[~same])
    ]
    assert area_under(roc_curve(scores, same)) == pytest.approx(np.mean(won), abs=1e-12)


@given(scored_pairs())
def test_eer_is_the_best_of_every_threshold(pairs: Pairs) -> None:
    scores, same = pairs
    # max() keeps the first of equals, and thresholds fall: the higher one wins a tie.
    threshold = min(
        every_threshold(scores), key=lambda t: abs(rates(scores, same, t)[0] - rates(scores, same, t)[1])
    )
    far, frr = rates(scores, same, threshold)
    point = equal_error_rate(roc_curve(scores, same))
    assert (point.threshold, point.far, point.frr) == (threshold, float(far), float(frr))
    assert point.equal_error == pytest.approx(float((far + frr) / 2), abs=1e-12)


@given(scored_pairs(), st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.5, 1.0]))
def test_tar_at_far_is_the_most_that_any_threshold_gives(pairs: Pairs, far: float) -> None:
    scores, same = pairs
    roc = roc_curve(scores, same)
    if (~same).sum() * Fraction(str(far)) < 1:
        with pytest.raises(InputError, match="impostor pairs"):
            tar_at_far(roc, far)
        return
    allowed = [t for t in every_threshold(scores) if rates(scores, same, t)[0] <= Fraction(str(far))]
    point = tar_at_far(roc, far)
    assert point.tar == pytest.approx(float(max(1 - rates(scores, same, t)[1] for t in allowed)), abs=1e-12)
    assert point.far <= far + 1e-12
    assert point.threshold == min(allowed)


@given(scored_pairs())
def test_best_threshold_is_as_accurate_as_any(pairs: Pairs) -> None:
    scores, same = pairs
    accuracy = {t: np.mean((scores >= t) == same) for t in every_threshold(scores)}
    threshold = best_threshold(scores, same)
    assert np.mean((scores >= threshold) == same) == max(accuracy.values())


def test_best_threshold_lies_midway_between_neighbours() -> None:
    assert best_threshold(np.array([0.0, 0.2, 0.6, 1.0]), np.array([False, False, True, True])) == 0.4


def test_best_threshold_takes_the_middle_of_equals() -> None:
    # G I G I G I falling: accepting 1, 2 + 1, 3 + 2 ... is equally accurate three times.
    scores = np.array([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    assert best_threshold(scores, np.array([True, False] * 3)) == 3.5


def test_best_threshold_between_neighbouring_floats_still_accepts_the_upper() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1))
    threshold = best_threshold(np.array([low, high]), np.array([False, True]))
    assert low < threshold <= high


@given(scored_pairs())
def test_rising_transforms_change_no_rate(pairs: Pairs) -> None:
    scores, same = pairs
    before, after = roc_curve(scores, same), roc_curve(np.exp(3 * scores) - 7, same)
    np.testing.assert_array_equal(before.true_accepts, after.true_accepts)
    np.testing.assert_array_equal(before.false_accepts, after.false_accepts)
    assert equal_error_rate(before).equal_error == equal_error_rate(after).equal_error


@given(scored_pairs())
def test_turning_scores_and_kinds_round_keeps_auc_and_swaps_rates(pairs: Pairs) -> None:
    scores, same = pairs
    turned = roc_curve(-scores, ~same)
    assert area_under(turned) == pytest.approx(area_under(roc_curve(scores, same)), abs=1e-12)


@given(scored_pairs())
def test_doubling_every_pair_changes_no_rate(pairs: Pairs) -> None:
    scores, same = pairs
    once, twice = roc_curve(scores, same), roc_curve(np.tile(scores, 2), np.tile(same, 2))
    np.testing.assert_array_equal(once.far, twice.far)
    np.testing.assert_array_equal(once.tar, twice.tar)


def test_all_scores_equal_is_chance() -> None:
    roc = roc_curve(np.full(10, 0.3), np.arange(10) < 5)
    assert area_under(roc) == 0.5
    assert equal_error_rate(roc).equal_error == 0.5


def test_perfect_and_inverted_scores() -> None:
    same = np.arange(40) < 20
    perfect, inverted = roc_curve(same.astype(float), same), roc_curve((~same).astype(float), same)
    assert (area_under(perfect), equal_error_rate(perfect).equal_error) == (1.0, 0.0)
    assert (area_under(inverted), tar_at_far(inverted, 0.1).tar) == (0.0, 0.0)


@pytest.mark.parametrize("same", [[True, True], [False, False]])
def test_one_kind_of_pair_is_refused(same: list[bool]) -> None:
    with pytest.raises(InputError, match="genuine and impostor"):
        roc_curve(np.array([0.1, 0.2]), np.array(same))


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        roc_curve(np.array([0.1, np.nan]), np.array([True, False]))


def folds_by_hand(
    scores: NDArray[np.float64], same: NDArray[np.bool_], fold: NDArray[np.int64]
) -> list[float]:
    accuracies = []
    for number in sorted(set(fold.tolist())):
        train = [i for i in range(len(fold)) if fold[i] != number]
        threshold = best_threshold(scores[train], same[train])
        test = [i for i in range(len(fold)) if fold[i] == number]
        accuracies.append(sum((scores[i] >= threshold) == same[i] for i in test) / len(test))
    return accuracies


def ten_folds(
    seed: int, pairs: int = 600
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    same = np.arange(pairs) % 2 == 0
    return rng.normal(loc=same * 1.5), same, np.arange(pairs) * 10 // pairs


def test_fold_accuracy_equals_a_plain_loop() -> None:
    scores, same, fold = ten_folds(0)
    result = fold_accuracy(scores, same, fold, scored_folds=tuple(range(10)))
    by_hand = folds_by_hand(scores, same, fold)
    np.testing.assert_allclose(result.accuracies, by_hand)
    assert result.mean == pytest.approx(np.mean(by_hand))
    assert result.standard_error == pytest.approx(np.std(by_hand, ddof=1) / 10**0.5)


@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_fold_accuracy_does_not_know_the_scale_of_scores(scale: float, shift: float) -> None:
    scores, same, fold = ten_folds(1, pairs=60)
    plain = fold_accuracy(scores, same, fold, scored_folds=tuple(range(10)))
    moved = fold_accuracy(scores * scale + shift, same, fold, scored_folds=tuple(range(10)))
    np.testing.assert_array_equal(plain.accuracies, moved.accuracies)


def test_a_folds_own_pairs_never_move_its_threshold() -> None:
    scores, same, fold = ten_folds(2)
    before = fold_accuracy(scores, same, fold, scored_folds=(3,)).thresholds
    scores[fold == 3] = -scores[fold == 3] * 9
    np.testing.assert_array_equal(before, fold_accuracy(scores, same, fold, scored_folds=(3,)).thresholds)


def test_one_scored_fold_has_the_binomial_error() -> None:
    scores, same, fold = ten_folds(3)
    result = fold_accuracy(scores, same, fold, scored_folds=(9,))
    p = result.mean
    assert result.standard_error == pytest.approx((p * (1 - p) / 60) ** 0.5)
    assert "binomial" in result.standard_error_rule


def test_scores_of_each_fold_are_pooled_as_that_fold_sees_them() -> None:
    _, same, fold = ten_folds(4, pairs=40)
    per_fold = np.random.default_rng(4).normal(size=(10, 40))
    pooled = measure(per_fold, same, fold, scored_folds=tuple(range(10))).pooled
    assert pooled.tolist() == [per_fold[fold[i], i] for i in range(40)]


def test_only_scored_folds_reach_the_pooled_numbers() -> None:
    scores, same, fold = ten_folds(5)
    metrics = measure(scores, same, fold, scored_folds=(0, 1))
    assert metrics.roc.genuine + metrics.roc.impostors == 120
    assert metrics.tar_at_far[0.1] is not None
    assert metrics.tar_at_far[0.01] is None  # 60 impostor pairs cannot show one in a hundred
