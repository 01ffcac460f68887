"""A new attack is its file, its line in the registry and its test; what is missing is an error at once."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Literal, Union

import pytest
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor
from toy_models import band_images, lgm_model

from faceverif.config.section import Count
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import Watched
from robustness.attacks import ATTACKS, PAIR_ATTACKS, Attack
from robustness.attacks.fgsm import FGSM
from robustness.attacks.goal import Goal
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.pgd import PGD
from robustness.attacks.registry import registered
from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection
from robustness.config.attacks import FGSMConfig, PGDConfig
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


def union_of(*sections: type[AttackSection]) -> object:
    return Annotated[Union[sections], Field(discriminator="name")]  # noqa: UP007 - built while running


def test_a_toy_attack_needs_its_class_and_its_section() -> None:
    """It is built from its config, and it cannot escape the checks."""
    config = union_of(FGSMConfig, DarkenConfig)
    attacks = registered([FGSM, Darken], config)
    section = TypeAdapter(config).validate_python({"name": "darken", "epsilons": [0.2]})
    assert isinstance(section, DarkenConfig)
    model, (images, labels) = lgm_model(), band_images(300)
    clean = extract_features(model, images, labels)
    known = Knowledge(clean, build_detector("lgm_class", model).fit(clean), {}, model.head)
    attack = attacks[section.name].configured(section, known)
    result = attack(model, images[:3], labels[:3], threat=ThreatModel("linf", 0.2), seed=0)
    assert result.sizes.max() == pytest.approx(0.1)
    with pytest.raises(ValidationError, match="shares"):
        TypeAdapter(config).validate_python({"name": "darken", "epsilons": [0.2], "shares": 0})


def test_what_a_new_attack_declares_becomes_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "darken is no weaker than fgsm" not in checks_for(None)
    monkeypatch.setitem(ATTACKS, "darken", Darken)
    assert "darken is no weaker than fgsm" in checks_for(None)


class WithoutSection(FGSM):
    traits = FGSM.traits


class WithoutTraits(FGSM):
    section = DarkenConfig


class OfNobody(Darken):
    section = DarkenConfig
    traits = Traits(follows_gradients=True, many_steps=True, no_weaker_than=frozenset({"nobody"}))


class OfEveryone(Darken):
    section = DarkenConfig
    traits = Traits(follows_gradients=True, many_steps=True)


class OtherNorms(Darken):
    section = DarkenConfig
    traits = FGSM.traits
    norms = FGSM.norms


BOTH = union_of(FGSMConfig, DarkenConfig)


@pytest.mark.parametrize(
    ("attacks", "config", "said"),
    [
        ((WithoutSection,), BOTH, "WithoutSection must declare its own section"),
        ((WithoutTraits,), BOTH, "WithoutTraits must declare its own traits"),
        ((FGSM, Darken, OfNobody), BOTH, "OfNobody and Darken share a section"),
        ((FGSM, OfNobody), BOTH, "no_weaker_than names attacks that are not registered: nobody"),
        ((OtherNorms,), BOTH, "OtherNorms and its section must know the same norms"),
        ((FGSM, PGD), BOTH, "PGDConfig of PGD must be in robustness/config/attacks.py"),
        ((FGSM,), BOTH, "DarkenConfig must have a class in robustness/attacks"),
        ((FGSM, Darken), union_of(FGSMConfig, DarkenConfig, PGDConfig), "PGDConfig must have a class"),
        ((FGSM, OfEveryone), BOTH, "FGSM escapes the checks"),
    ],
)
def test_what_is_half_registered_does_not_import(
    attacks: tuple[type[Attack], ...], config: object, said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        registered(attacks, config)


def test_every_file_of_the_folder_is_registered() -> None:
    """No list names the attacks, so none can be forgotten."""
    known = (*ATTACKS.values(), *PAIR_ATTACKS.values())
    files = {Path(inspect.getfile(attack)).stem for attack in known}
    folder = Path(inspect.getfile(FGSM)).parent
    naming = {path.stem for path in folder.glob("*.py") if "    section = " in path.read_text()}
    assert files == naming
