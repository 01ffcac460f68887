"""Figures by brute force, their intervals, and the sanity of both ends of the sweep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from toy_models import band_images, lgm_model

from data_prep.errors import InputError
from faceverif.perturbation.threat_model import ThreatModel
from faceverif.verification.roc import area_under, equal_error_rate
from robustness.attacks.base import AttackResult
from robustness.attacks.fgsm import FGSM
from robustness.detectors import build_detector
from robustness.detectors.rejection_threshold import RejectionThreshold, calibrate
from robustness.features import Features, extract_features
from robustness.rejection.bootstrap import DrawnRoc, Estimate, drawn_counts
from robustness.rejection.outcome import Outcome, Verdicts, clean_against_attacked, measure_outcome

MODEL = lgm_model()


def fgsm_outcome(epsilon: float, *, count: int = 120) -> Outcome:
    images, labels = band_images(count, seed=1)
    detector = build_detector("lgm_class", MODEL).fit(extract_features(MODEL, *band_images(300, seed=2)))
    held_out = detector.score(extract_features(MODEL, *band_images(300, seed=3)))
    result = FGSM()(MODEL, images, labels, threat=ThreatModel("linf", epsilon), seed=0)
    return measure_outcome(
        Verdicts.of(result),
        detector.score(result.clean),
        detector.score(result.attacked),
        points=[calibrate(held_out, rate) for rate in (0.01, 0.05)],
        seed=0,
        draws=200,
    )


def predicting(classes: list[int]) -> Features:
    """Features of images of class 0 that are taken for these classes."""
    logits = torch.nn.functional.one_hot(torch.tensor(classes), 3).float()
    return Features(torch.zeros(len(classes), 2), logits, torch.zeros(len(classes), dtype=torch.int64))


def small_result() -> AttackResult:
    """Six images: one wrong before, two fooled."""
    return AttackResult(
        images=torch.zeros(6, 1, 2, 2),
        clean=predicting([1, 0, 0, 0, 0, 0]),
        attacked=predicting([1, 1, 2, 0, 0, 0]),
        targets=None,
        sizes=torch.zeros(6),
        zero_gradient=torch.tensor([True, True, False, False, False, False]),
    )


def test_every_figure_of_six_images() -> None:
    clean, attacked = [9.0, 0, 1, 2, 3, 4], [9.0, 8, 2, 7, 3, 5]
    outcome = measure_outcome(
        Verdicts.of(small_result()),
        clean,
        attacked,
        points=[RejectionThreshold(4.0, 0.1, 10)],
        seed=0,
        draws=50,
    )
    assert outcome.images == 6
    assert outcome.clean_accuracy.value == pytest.approx(5 / 6)
    assert outcome.accuracy.value == pytest.approx(3 / 6)
    assert outcome.success.value == pytest.approx(2 / 5)
    assert outcome.zero_gradient_share == pytest.approx(1 / 5)
    (detection,) = outcome.detections
    assert detection.false_rejection.value == pytest.approx(1 / 6)
    assert detection.detection.value == pytest.approx(4 / 6)
    assert detection.detection_of_successes is not None
    assert detection.detection_of_successes.value == pytest.approx(1 / 2)
    assert detection.undetected_success.value == pytest.approx(1 / 5)
    pairs = [(a > c) + 0.5 * (a == c) for a in attacked for c in clean]
    assert outcome.auc.value == pytest.approx(np.mean(pairs))
    of_successes = [(a > c) + 0.5 * (a == c) for a in (8.0, 2.0) for c in clean]
    assert outcome.successes_auc == pytest.approx(np.mean(of_successes))


def test_at_epsilon_zero_the_detector_knows_nothing() -> None:
    outcome = fgsm_outcome(0.0)
    assert outcome.auc.value == 0.5
    assert outcome.eer.value == 0.5
    assert (outcome.auc.low, outcome.auc.high) == (0.5, 0.5)
    assert outcome.success.value == 0.0
    assert outcome.successes_auc is None
    for detection in outcome.detections:
        assert detection.detection == detection.false_rejection
        assert detection.detection_of_successes is None
        assert detection.undetected_success.value == 0.0


def test_at_a_large_epsilon_fgsm_fools_everything_and_is_seen() -> None:
    outcome = fgsm_outcome(0.6)
    assert outcome.success.value == 1.0
    assert outcome.accuracy.value == 0.0
    assert outcome.auc.value > 0.99
    assert outcome.detections[1].undetected_success.value < 0.05


def test_drawn_figures_are_those_of_the_drawn_images() -> None:
    generator = np.random.default_rng(0)
    clean, attacked = np.round(generator.normal(size=(2, 40)), 1)
    attacked += 0.5
    (counts,) = drawn_counts(40, draws=20, seed=1)
    assert (counts.sum(axis=1) == 40).all()
    aucs, eers = DrawnRoc(clean, attacked).rates(counts)
    for count, auc, eer in zip(counts, aucs, eers, strict=True):
        chosen = np.repeat(np.arange(40), count)
        roc = clean_against_attacked(clean[chosen], attacked[chosen])
        assert auc == pytest.approx(area_under(roc))
        assert eer == pytest.approx(equal_error_rate(roc).equal_error)


def test_intervals_have_the_width_of_a_share_and_hold_the_value() -> None:
    outcome = fgsm_outcome(0.31, count=300)
    share = outcome.success
    assert 0.05 < share.value < 0.95
    assert share.low < share.value < share.high
    assert share.high - share.low == pytest.approx(
        2 * 1.96 * np.sqrt(share.value * (1 - share.value) / 300), rel=0.25
    )
    assert fgsm_outcome(0.31, count=300).eer == outcome.eer


def test_draws_come_in_portions_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = drawn_counts(40, draws=5, seed=0)
    monkeypatch.setattr("robustness.rejection.bootstrap._PORTION", 100)
    portions = list(drawn_counts(40, draws=5, seed=0))
    assert [len(portion) for portion in portions] == [2, 2, 1]
    assert np.array_equal(np.concatenate(portions), whole)


def test_scores_that_do_not_belong_are_refused() -> None:
    six = [0.0] * 6
    with pytest.raises(InputError, match=r"attacked_scores: must have one score per image, \(6,\)"):
        measure_outcome(Verdicts.of(small_result()), six, six[:5], points=[], seed=0)
    with pytest.raises(InputError, match="clean_scores: must be finite"):
        measure_outcome(Verdicts.of(small_result()), [*six[:5], np.nan], six, points=[], seed=0)


@pytest.mark.parametrize("whole", [1, 30, 209])
def test_a_share_has_the_exact_interval_which_grows_with_its_count(whole: int) -> None:
    bounds = []
    for count in sorted({0, 1, 2, whole // 2, whole - 1, whole} & {*range(whole + 1)}):
        found = Estimate.of_share(np.arange(whole) < count)
        exact = binomtest(count, whole).proportion_ci(method="exact")
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
        bounds.append((found.low, found.high))
    for ends in zip(*bounds, strict=True):
        assert list(ends) == sorted(set(ends))


def test_the_interval_of_the_auc_holds_it_where_every_score_moves_a_little() -> None:
    """Drawn with both of its scores, an image meets itself too often."""
    clean = np.random.default_rng(0).normal(size=200)
    right = np.ones(200, bool)
    found = measure_outcome(Verdicts(right, right, ~right, None), clean, clean + 1e-9, points=[], seed=0).auc
    assert found.value == pytest.approx(0.5025)
    assert found.low <= found.value <= found.high
    (counts,) = drawn_counts(200, draws=4000, seed=1)
    curve = DrawnRoc(clean, clean + 1e-9)
    drawn = curve.rates(counts)[0] - curve.auc_bias(found.value)
    assert drawn.mean() == pytest.approx(found.value, abs=1e-4)


def test_without_an_image_that_is_right_there_is_no_success_to_measure() -> None:
    wrong = np.zeros(5, bool)
    scores = np.arange(5.0)
    points = [RejectionThreshold(3.0, 0.1, 10)]
    outcome = measure_outcome(Verdicts(wrong, wrong, wrong, wrong), scores, scores, points=points, seed=0)
    assert outcome.success is outcome.zero_gradient_share is outcome.detections[0].undetected_success is None
    assert outcome.detections[0].detection.value == pytest.approx(1 / 5)


def test_an_attack_that_never_succeeds_does_not_claim_that_it_never_could() -> None:
    right = np.ones(30, bool)
    verdicts = Verdicts(right, right, ~right, None)
    scores = np.arange(30.0)
    outcome = measure_outcome(verdicts, scores, scores, points=[], seed=0)
    assert outcome.success.value == 0
    assert outcome.success.high == pytest.approx(0.116, abs=0.001)
