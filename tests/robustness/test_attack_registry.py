"""A new attack is its file, its line in the registry and its test; what is missing is an error at once."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from toy_models import band_images, lgm_model

from faceverif.config.section import Count
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import Watched
from robustness.attacks import ATTACKS, Attack
from robustness.attacks.fgsm import FGSM
from robustness.attacks.goal import Goal
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.registry import registry, union_of
from robustness.attacks.section import AttackSection
from robustness.attacks.traits import Traits
from robustness.detectors import build_detector
from robustness.features import extract_features
from robustness.rejection.masking import checks_for


class DarkenConfig(AttackSection):
    """Less light."""

    name: Literal["darken"]
    norm: Literal["linf"] = "linf"
    shares: Count = 2


class Darken(Attack):
    """Takes a share of epsilon from every pixel; sees nothing of the model."""

    section = DarkenConfig
    traits = Traits(follows_gradients=False, many_steps=False, no_weaker_than=frozenset({"fgsm"}))
    norms = DarkenConfig.norms()

    def __init__(self, *, shares: int) -> None:
        self.shares = shares

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        return images - threat.epsilon / self.shares


def test_a_toy_attack_needs_its_class_and_a_line() -> None:
    """Its config is part of the union, it is built from it, and it cannot escape the checks."""
    attacks = registry(FGSM, Darken)
    section = TypeAdapter(union_of(attacks)).validate_python({"name": "darken", "epsilons": [0.2]})
    assert isinstance(section, DarkenConfig)
    model, (images, labels) = lgm_model(), band_images(300)
    clean = extract_features(model, images, labels)
    known = Knowledge(clean, build_detector("lgm_class", model).fit(clean), {}, model.head)
    attack = attacks[section.name].configured(section, known)
    result = attack(model, images[:3], labels[:3], threat=ThreatModel("linf", 0.2), seed=0)
    assert result.sizes.max() == pytest.approx(0.1)
    with pytest.raises(ValidationError, match="shares"):
        TypeAdapter(union_of(attacks)).validate_python({"name": "darken", "epsilons": [0.2], "shares": 0})


def test_what_a_new_attack_declares_becomes_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "darken is no weaker than fgsm" not in checks_for(None)
    monkeypatch.setitem(ATTACKS, "darken", Darken)
    assert "darken is no weaker than fgsm" in checks_for(None)


class WithoutSection(FGSM):
    traits = FGSM.traits


class WithoutTraits(FGSM):
    section = DarkenConfig


class NamelessConfig(AttackSection):
    """Forgot its literal."""


class Nameless(FGSM):
    section: ClassVar[type[AttackSection]] = NamelessConfig
    traits = FGSM.traits


class OfNobody(Darken):
    section = DarkenConfig
    traits = Traits(follows_gradients=True, many_steps=True, no_weaker_than=frozenset({"nobody"}))


class OtherNorms(Darken):
    section = DarkenConfig
    traits = FGSM.traits
    norms = FGSM.norms


@pytest.mark.parametrize(
    ("attacks", "said"),
    [
        ((WithoutSection,), "WithoutSection must declare its own section"),
        ((WithoutTraits,), "WithoutTraits must declare its own traits"),
        ((Nameless,), "NamelessConfig.name must be one literal"),
        ((FGSM, FGSM), "FGSM and FGSM are both named fgsm"),
        ((OfNobody,), "no_weaker_than names attacks that are not registered: nobody"),
        ((OtherNorms,), "OtherNorms and its section must know the same norms"),
        ((FGSM,), "FGSM escapes the checks"),
    ],
)
def test_what_is_half_registered_does_not_import(attacks: tuple[type[Attack], ...], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        registry(*attacks)
