"""The guarantee of the threshold, by simulation, and what it needs."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.errors import InputError
from robustness.calibration_size import smallest_calibration, smallest_rate
from robustness.detectors.rejection_threshold import calibrate


@pytest.mark.parametrize(("size", "rate"), [(99, 0.01), (100, 0.05), (30, 0.1), (7, 0.3)])
def test_fresh_clean_images_are_rejected_at_the_stated_rate(size: int, rate: float) -> None:
    generator = np.random.default_rng(0)
    # Uniform scores: a fresh one exceeds the threshold with a chance of 1 - threshold exactly.
    rejected = [1.0 - calibrate(generator.random(size), rate).threshold for _ in range(4000)]
    mean, error = np.mean(rejected), np.std(rejected) / np.sqrt(4000)
    assert mean <= rate + 3 * error
    assert mean >= rate - 1 / (size + 1) - 3 * error
    # The expected value is known: 1 - rank / (size + 1).
    rank = int(np.ceil((size + 1) * (1 - rate) - 1e-9))
    assert mean == pytest.approx(1 - rank / (size + 1), abs=3 * error)


def test_the_threshold_is_one_of_the_scores_by_rank() -> None:
    scores = np.arange(1, 100)[::-1]
    assert calibrate(scores, 0.01).threshold == 99
    assert calibrate(scores, 0.05).threshold == 95
    point = calibrate(scores, 0.5)
    assert point.threshold == 50
    assert point.calibration_size == 99
    assert point.rejects([49.0, 50.0, 50.1]).tolist() == [False, False, True]


def test_ties_reject_less_never_more() -> None:
    point = calibrate(np.repeat([1.0, 2.0], [90, 10]), 0.05)
    assert not point.rejects([1.0, 2.0]).any()


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 99), (0.05, 19), (0.3, 3), (0.001, 999), (1 - 1e-12, 1)])
def test_too_few_scores_are_refused_with_the_number_needed(rate: float, needed: int) -> None:
    assert smallest_calibration(rate) == needed
    calibrate(np.arange(needed), rate)
    with pytest.raises(InputError, match=f"clean_scores: must be at least {needed} .*; got {needed - 1}"):
        calibrate(np.arange(needed - 1), rate)


def test_the_rate_that_is_advised_can_be_had() -> None:
    for size in (*range(1, 400), 10_000):
        rate = float(smallest_rate(size))
        assert smallest_calibration(rate) <= size
        assert rate < 1.1 / (size + 1)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match=r"false_rejection_rate: must lie in \(0, 1\)"):
        calibrate(np.arange(100), rate)


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="clean_scores: must be finite"):
        calibrate([*range(100), float("inf")], 0.05)
