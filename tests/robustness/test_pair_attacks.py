"""Impersonation and dodging on the cosine of embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from toy_models import Bands, band_images, lgm_model, momentum_ascent, softmax_model

from data_prep.errors import InputError
from faceverif.perturbation.norm import Norm
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacks import PAIR_ATTACKS, PairAttack
from robustness.attacks.pair_adaptive import PairAdaptive
from robustness.attacks.pair_apgd import PairAPGD
from robustness.attacks.pair_evolutionary import PairEvolutionary
from robustness.attacks.pair_mi_fgsm import PairMIFGSM
from robustness.attacks.pair_patch import PairPatch
from robustness.attacks.pair_pgd import PairFGSM, PairPGD
from robustness.attacks.pair_square import PairSquare
from robustness.attacks.pair_transfer import PairTransfer
from robustness.attacks.sweep import Sweep
from robustness.config.attacks import PairGoal, PatchConfig
from robustness.detectors import build_detector
from robustness.detectors.rejection_threshold import calibrate
from robustness.features import extract_features

THRESHOLD = 0.8


SMALL: dict[str, Callable[[PairGoal], PairAttack]] = {
    "fgsm": PairFGSM,
    "pgd": lambda goal: PairPGD(goal, steps=5, restarts=2),
    "apgd": lambda goal: PairAPGD(goal, steps=5, restarts=2),
    "mi_fgsm": lambda goal: PairMIFGSM(goal, momentum_ascent(steps=5, nesterov=True, scales=2)),
    "transfer": lambda goal: PairTransfer(PairPGD(goal, steps=5, restarts=1), softmax_model()),
    "square": lambda goal: PairSquare(goal, queries=30),
    "evolutionary": lambda goal: PairEvolutionary(goal, THRESHOLD, queries=30),
    "patch": lambda goal: patch(goal, steps=5),
    "adaptive": lambda goal: adaptive(goal, weights=(0.0, 0.1), steps=3),
}


# The pictures of bands are 6 pixels wide and 3 high: the face is much larger, and its forehead covers a part.
LANDMARKS = np.array([[1, 4], [4, 4], [2.5, 5.5], [1.3, 7], [3.7, 7]])


def patch(goal: PairGoal, **settings: Any) -> PairPatch:
    section = PatchConfig.model_validate({"name": "patch", "region": "forehead"} | settings)
    return PairPatch(goal, LANDMARKS, **section.own_settings())


def adaptive(goal: PairGoal, *, weights: tuple[float, ...], steps: int) -> PairAdaptive:
    model = lgm_model()
    detector = build_detector("lgm_class", model).fit(extract_features(model, *band_images(30, seed=2)))
    held_out = detector.score(extract_features(model, *band_images(300, seed=3)))
    limit = calibrate(held_out, 0.05).threshold
    sweep = Sweep(limit, weights=weights, steps=steps, restarts=1)
    return PairAdaptive(goal, model.head, detector, sweep, accept_from=THRESHOLD)


def network() -> Bands:
    return Bands().eval()


def pairs(goal: PairGoal) -> tuple[torch.Tensor, torch.Tensor]:
    """Impostor pairs for impersonation, each photo with itself for dodging."""
    probes, _ = band_images(9)
    return probes, probes if goal == "dodging" else probes.roll(1, dims=0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", SMALL)
def test_every_attack_moves_the_cosine_within_the_ball(name: str, norm: Norm) -> None:
    if norm not in PAIR_ATTACKS[name].norms:
        with pytest.raises(InputError, match="norm: must be one that Pair"):
            SMALL[name]("dodging")(network(), *pairs("dodging"), threat=ThreatModel(norm, 0.1), seed=0)
        return
    probes, references = pairs("impersonation")
    threat = ThreatModel(norm, 0.1)
    result = SMALL[name]("impersonation")(network(), probes, references, threat=threat, seed=0)
    assert (result.sizes <= threat.epsilon + 1e-5).all()
    assert result.similarity.mean() > result.clean_similarity.mean()
    assert (result.zero_gradient is None) == PAIR_ATTACKS[name].traits.black_box
    still = SMALL[name]("impersonation")(network(), probes, references, threat=ThreatModel(norm, 0.0), seed=0)
    assert torch.equal(still.images, probes)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("goal", ["impersonation", "dodging"])
@pytest.mark.parametrize("attack", [PairPGD, PairAPGD])
def test_both_goals_are_reached_within_the_ball(attack: type[PairPGD], goal: PairGoal, norm: Norm) -> None:
    probes, references = pairs(goal)
    threat = ThreatModel(norm, 0.5 if norm == "linf" else 2.0)
    result = attack(goal, steps=20, restarts=4)(network(), probes, references, threat=threat, seed=0)
    assert result.attackable(THRESHOLD).all()
    assert result.success(THRESHOLD).all()
    assert (result.sizes <= threat.epsilon + 1e-5).all()
    embeddings, wanted = network()(result.images), network()(references)
    torch.testing.assert_close(result.similarity, torch.cosine_similarity(embeddings, wanted))


def test_dodging_leaves_the_place_where_its_gradient_is_zero() -> None:
    probes, references = pairs("dodging")
    result = PairPGD("dodging", steps=3, restarts=1)(
        network(), probes, references, threat=ThreatModel("linf", 0.1), seed=0
    )
    torch.testing.assert_close(result.clean_similarity, torch.ones(9))
    assert (result.similarity < 0.998).all()
    assert result.zero_gradient is not None
    assert not result.zero_gradient.any()


class Stepped(Bands):
    """Rounds the pictures of which the first pixel is dark: they have no gradient."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        dark = (pixels[:, :1, :1, :1] < 0.5).float()
        return super().forward(dark * (4 * pixels).round() / 4 + (1 - dark) * pixels)


def test_pairs_without_a_gradient_are_counted() -> None:
    probes, references = pairs("impersonation")
    result = PairPGD("impersonation", steps=2, restarts=1)(
        Stepped().eval(), probes, references, threat=ThreatModel("linf", 0.1), seed=0
    )
    assert result.zero_gradient is not None
    assert result.zero_gradient.tolist() == (probes[:, 0, 0, 0] < 0.5).tolist()
    assert 0 < result.zero_gradient.sum() < len(probes)


def test_pairs_already_decided_as_wanted_do_not_count() -> None:
    probes, _ = band_images(9)
    result = PairPGD("impersonation", steps=2, restarts=1)(
        network(), probes, probes, threat=ThreatModel("linf", 0.1), seed=0
    )
    assert not result.attackable(THRESHOLD).any()
    assert not result.success(THRESHOLD).any()


def test_more_restarts_are_never_worse_and_portions_bound_the_batch() -> None:
    probes, references = pairs("impersonation")
    threat, bands = ThreatModel("linf", 0.2), network()
    once, often = (
        PairPGD("impersonation", steps=2, restarts=restarts)(
            bands, probes, references, threat=threat, seed=0, portion=4
        )
        for restarts in (1, 4)
    )
    assert bands.largest_batch == 4
    assert (often.similarity >= once.similarity - 1e-6)[:4].all()
    assert all(parameter.grad is None for parameter in bands.parameters())


def test_epsilon_zero_changes_nothing() -> None:
    probes, references = pairs("impersonation")
    result = PairPGD("impersonation", steps=1, restarts=1)(
        network(), probes, references, threat=ThreatModel("l2", 0.0), seed=0
    )
    assert torch.equal(result.images, probes)
    assert torch.equal(result.similarity, result.clean_similarity)


@pytest.mark.parametrize("goal", ["impersonation", "dodging"])
def test_who_knows_the_detector_gets_past_it(goal: PairGoal) -> None:
    model, threat = lgm_model(), ThreatModel("linf", 0.5)
    aware = adaptive(goal, weights=(0.0, 0.1, 1.0), steps=15)
    probes, references = pairs(goal)
    undetected = []
    for attack in (PairPGD(goal, steps=45, restarts=1), aware):
        result = attack(model.network, probes, references, threat=threat, seed=0)
        scores = aware.detector.score(
            extract_features(model, result.images, torch.zeros(9, dtype=torch.int64))
        )
        undetected.append(
            (result.success(THRESHOLD) & (scores <= aware.sweep.threshold)).float().mean().item()
        )
    assert undetected[1] > undetected[0] + 0.1


@pytest.mark.parametrize("name", SMALL)
def test_a_network_that_answers_nan_is_not_called_robust_or_deceived(name: str) -> None:
    class Broken(Bands):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return super().forward(pixels) * torch.nan

    probes, references = (band_images(6, seed=seed)[0] for seed in (0, 1))
    attack = SMALL[name]("dodging")
    threat = ThreatModel(min(attack.norms), 0.1)
    with pytest.raises(InputError, match=r"must (give|be|have) finite.*; got NaN .* of 6"):
        attack(Broken().eval(), probes, references, threat=threat, seed=0)


def test_bad_input_is_refused() -> None:
    probes, references = pairs("impersonation")
    attack, threat = PairPGD("impersonation", steps=1, restarts=1), ThreatModel("linf", 0.1)
    with pytest.raises(InputError, match="model: must be in evaluation mode"):
        attack(network().train(), probes, references, threat=threat, seed=0)
    with pytest.raises(InputError, match=r"references: pixels must lie in \[0, 1\]"):
        attack(network(), probes, references * 2, threat=threat, seed=0)
    with pytest.raises(InputError, match="references: must have the number and size of the probes"):
        attack(network(), probes, references[:4], threat=threat, seed=0)
