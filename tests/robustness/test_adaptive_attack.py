"""An attack that knows the detector does better than one that does not."""

from __future__ import annotations

import pytest
import torch
from toy_models import band_images, lgm_model, pgd, success_rate

from data_prep.errors import InputError
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacks.adaptive import Adaptive
from robustness.attacks.base import Attack
from robustness.attacks.fgsm import FGSM
from robustness.attacks.sweep import BestVersions, Sight, Sweep
from robustness.detectors import Detector, build_detector
from robustness.detectors.rejection_threshold import RejectionThreshold, calibrate
from robustness.features import extract_features

MODEL = lgm_model()
IMAGES, LABELS = band_images(12, seed=1)
THREAT = ThreatModel("linf", 0.55)


@pytest.fixture(scope="module", params=["lgm_class", "mahalanobis", "knn"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return build_detector(request.param, MODEL).fit(extract_features(MODEL, *band_images(300, seed=2)))


@pytest.fixture(scope="module")
def point(detector: Detector) -> RejectionThreshold:
    return calibrate(detector.score(extract_features(MODEL, *band_images(300, seed=3))), 0.05)


def undetected_success(attack: Attack, detector: Detector, point: RejectionThreshold) -> float:
    result = attack(MODEL, IMAGES, LABELS, threat=THREAT, seed=0)
    rejected = point.rejects(detector.score(result.attacked))
    return float((result.success.numpy() & ~rejected).mean())


def test_it_gets_past_the_detector_where_fgsm_and_pgd_do_not(
    detector: Detector, point: RejectionThreshold
) -> None:
    adaptive = Adaptive(detector, Sweep(point.threshold, weights=(0.0, 1.0, 10.0), steps=12, restarts=2))
    assert undetected_success(FGSM(), detector, point) < 0.1
    assert undetected_success(pgd(steps=10), detector, point) < 0.5
    assert undetected_success(adaptive, detector, point) > 0.9


def test_without_a_weight_it_is_a_plain_attack() -> None:
    detector = build_detector("lgm_class", MODEL).fit(extract_features(MODEL, *band_images(300, seed=2)))
    plain = Adaptive(detector, Sweep(-1.0, weights=(0.0,), steps=15, restarts=2))
    result = plain(MODEL, IMAGES, LABELS, threat=ThreatModel("linf", 0.4), seed=0)
    strong = pgd(steps=15, loss="margin")(MODEL, IMAGES, LABELS, threat=ThreatModel("linf", 0.4), seed=0)
    assert success_rate(result) == success_rate(strong) == 1.0


def test_the_best_version_is_undetected_then_least_suspicious_then_closest() -> None:
    far, near, there = 5.0, 1.0, -1.0
    best = BestVersions(torch.zeros(1, 1, 1, 1), threshold=2.0)
    # Each better than the one before, and in between one that is worse.
    for value, distance, score, kept in [
        (0.1, far, 0.0, 0.1),
        (0.2, near, 9.0, 0.2),
        (0.3, far, 0.0, 0.2),
        (0.4, there, 9.0, 0.4),
        (0.5, there, 3.0, 0.5),
        (0.6, near, 0.0, 0.5),
        (0.7, there, 2.0, 0.7),
        (0.8, there, 2.1, 0.7),
    ]:
        distances = torch.tensor([distance])
        sight = Sight(-distances, distances < 0, torch.tensor([score]), distances)
        best.keep(torch.full((1, 1, 1, 1), value), sight)
        assert best.images.item() == pytest.approx(kept)


def test_an_unfitted_detector_or_one_without_gradients_is_refused() -> None:
    detector = build_detector("lgm_class", MODEL)
    with pytest.raises(InputError, match="detector: must be fitted"):
        Adaptive(detector, Sweep(0.0, weights=(0.0,), steps=1, restarts=1))

    class Opaque(type(detector)):  # type: ignore[misc]
        differentiable = False

    opaque = Opaque(MODEL).fit(extract_features(MODEL, IMAGES, LABELS))
    with pytest.raises(InputError, match="detector: must give its scores gradients"):
        Adaptive(opaque, Sweep(0.0, weights=(0.0,), steps=1, restarts=1))
