"""Models and detectors that answer at random: averaged gradients, and the check that notices them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from small_rejection import finding
from torch import Tensor, nn
from toy_models import Bands, band_images, lgm_model, softmax_model

from faceverif.perturbation.ascent import gradient_of
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import AttackedModel
from robustness.attacks.adaptive import Adaptive
from robustness.attacks.autoattack import AutoAttack
from robustness.attacks.fab import FAB
from robustness.attacks.feature_matching import FeatureMatching
from robustness.attacks.pair_adaptive import PairAdaptive
from robustness.attacks.pair_pgd import PairPGD
from robustness.attacks.sweep import Sight, Sweep
from robustness.detectors import Detector, build_detector
from robustness.detectors.disagreement import Disagreement
from robustness.detectors.views import View
from robustness.features import extract_features
from robustness.fitted_model import FittedModel
from robustness.rejection.calibrated_model import MODEL, CalibratedModel
from robustness.rejection.masking import check_masking

IMAGES, LABELS = band_images(12)


class Noisy(nn.Module):
    """A network whose embedding is scaled at random, each entry for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = Bands()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.plain(pixels) * (1 + 3 * torch.randn(len(pixels), 3))


def test_samples_average_a_random_gradient() -> None:
    torch.manual_seed(0)

    def gradient(samples: int) -> Tensor:
        return gradient_of(
            lambda pixels: (pixels * (1 + torch.randn_like(pixels))).sum(dim=(1, 2, 3)),
            torch.zeros(1, 1, 40, 40),
            samples=samples,
        )

    assert gradient(1).std().item() == pytest.approx(1.0, rel=0.1)
    assert gradient(25).std().item() == pytest.approx(0.2, rel=0.1)
    assert gradient(25).mean().item() == pytest.approx(1.0, abs=0.02)


def test_attacks_with_samples_take_a_random_model() -> None:
    model = lgm_model()
    noisy = AttackedModel(Noisy(), model.objective).eval()
    threat = ThreatModel("linf", 0.3)
    attack = AutoAttack(steps=3, targets=1, queries=2, samples=3)
    assert attack(noisy, IMAGES, LABELS, threat=threat, seed=0).images.shape == IMAGES.shape


class NoisyGradient(Noisy):
    """What it says is certain; where its gradient leads is not."""

    def forward(self, pixels: Tensor) -> Tensor:
        return self.plain(pixels + 3 * torch.randn_like(pixels) * (pixels - pixels.detach()))


def test_with_samples_an_attack_finds_the_way_through_a_random_gradient() -> None:
    def reached(samples: int) -> float:
        attack = PairPGD("impersonation", steps=6, restarts=1, samples=samples)
        network, threat = NoisyGradient().eval(), ThreatModel("linf", 0.2)
        return attack(network, IMAGES, IMAGES.roll(1, dims=0), threat=threat, seed=0).similarity.mean().item()

    assert reached(20) > reached(1) + 0.02


def noisy_gradient() -> AttackedModel:
    return AttackedModel(NoisyGradient(), lgm_model().objective).eval()


def likelihood(model: AttackedModel) -> Detector:
    return build_detector("lgm_class", model).fit(extract_features(model, *band_images(60, seed=2)))


def adaptive(samples: int) -> float:
    model = noisy_gradient()
    sweep = Sweep(2.0, weights=(0.0, 1.0), steps=6, restarts=1, samples=samples)
    attack = Adaptive(likelihood(model), sweep)
    result = attack(model, IMAGES, LABELS, threat=ThreatModel("linf", 0.45), seed=0)
    return float((result.success & (attack.detector.score(result.attacked) <= 2.0)).float().mean())


def pair_adaptive(samples: int) -> float:
    model = noisy_gradient()
    sweep = Sweep(100.0, weights=(0.0,), steps=6, restarts=1, samples=samples)
    attack = PairAdaptive("impersonation", model.head, likelihood(model), sweep, accept_from=0.99)
    others, threat = IMAGES.roll(1, dims=0), ThreatModel("linf", 0.2)
    return float(attack(model.network, IMAGES, others, threat=threat, seed=0).similarity.mean())


def feature_matching(samples: int) -> float:
    """How close it comes; the margin of the version that it returns."""
    model = noisy_gradient()
    attack = FeatureMatching(extract_features(model, IMAGES, LABELS), steps=6, restarts=1, samples=samples)
    result = attack(model, IMAGES, LABELS, threat=ThreatModel("linf", 0.2), seed=0)
    others = result.attacked.logits.scatter(1, LABELS[:, None], -torch.inf).amax(dim=1)
    return float((others - result.attacked.logits.gather(1, LABELS[:, None]).squeeze(1)).mean())


def fab(samples: int) -> float:
    """Minus the size of the smallest change that it finds in l2, epsilon where it finds none."""
    model, threat = noisy_gradient(), ThreatModel("l2", 2.0)
    result = FAB(steps=6, targets=2, samples=samples)(model, IMAGES, LABELS, threat=threat, seed=0)
    return -float(torch.where(result.success, result.sizes, 2.0).mean())


@pytest.mark.parametrize("reached", [adaptive, pair_adaptive, feature_matching, fab])
def test_every_attack_with_samples_follows_the_mean_gradient(reached: Callable[[int], float]) -> None:
    assert reached(20) > reached(1) + 0.02


def test_a_version_that_was_lucky_once_is_no_success() -> None:
    def sight(reached: list[bool], scores: list[float]) -> Sight:
        one = torch.tensor(scores)
        return Sight(one, torch.tensor(reached), one, -one)

    looks = [sight([True, True], [0.0, 3.0]), sight([True, False], [6.0, 3.0]), sight([False] * 2, [0.0] * 2)]
    mean = Sight.mean(looks)
    assert mean.reached.tolist() == [True, False]
    assert mean.scores.tolist() == [2.0, 2.0]
    assert Sight.mean(looks[:1]) is looks[0]


class Shaken(Disagreement):
    """Compares a picture with a version that is drawn anew each time."""

    views: ClassVar[dict[str, View]] = {
        "shaken": lambda pixels: (pixels + 0.2 * torch.randn_like(pixels)).clamp(0, 1)
    }


def calibrated(model: AttackedModel, detector: Detector) -> CalibratedModel:
    clean = extract_features(model, IMAGES, LABELS, views=detector.views)
    return CalibratedModel(FittedModel(model, clean, {"own": detector.fit(clean)}), {}, {})


def test_what_answers_at_random_is_found() -> None:
    sound, noisy = softmax_model(), AttackedModel(Noisy(), softmax_model().objective).eval()
    assert calibrated(sound, build_detector("feature_squeezing", sound)).unsteady(IMAGES, LABELS) == []
    assert calibrated(sound, Shaken(sound)).unsteady(IMAGES, LABELS) == ["own"]
    assert calibrated(noisy, build_detector("energy", noisy)).unsteady(IMAGES, LABELS) == [MODEL]


def test_random_answers_ask_for_averaged_gradients(tmp_path: Path) -> None:
    def said(name: str, unsteady: list[str] | None, samples: int = 1) -> tuple[str, str]:
        made = finding(name, 0.1, [True], tmp_path, unsteady=unsteady, samples=samples)
        [check] = [each for each in check_masking([made]) if each.name == "random answers are averaged"]
        return check.verdict, check.text

    assert said("pgd", []) == ("pass", "model and detector gave the same answer twice")
    assert said("pgd", [MODEL]) == (
        "warning",
        "the model gave two answers to the same image, and no attack averaged its gradients: set samples to "
        "20 or more",
    )
    assert said("pgd", [MODEL], samples=20)[0] == "pass"
    assert said("pgd", ["x"], samples=20)[0] == "warning"  # it does not look at the detector x
    assert said("adaptive", ["x"], samples=20)[0] == "pass"
    assert said("pgd", ["another"]) == (
        "pass",
        "model and detector gave the same answer twice; another did not",
    )
    assert said("pgd", None)[0] == "not run"
