"""Transfer: attack a model that is known, and show the result to one that is not."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import AttackedModel, Watched, frozen, refuse_unfit_model
from robustness.attacks.base import Attack
from robustness.attacks.goal import Goal
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.mi_fgsm import MIFGSM
from robustness.attacks.momentum import MomentumAscent
from robustness.attacks.pgd import PGD
from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection
from robustness.config.attacks import TransferConfig


class Transfer(Attack):
    """What another attack finds on another model; the attacked model is not asked.

    A model whose gradients are masked falls to this and not to the attack itself.

    Args:
        attack: what is done to the source.
        source: a model of the same images and classes, on the device of the attacked model; several are
            joined first, see `robustness.joint_model`.
    """

    section = TransferConfig
    traits = Traits(follows_gradients=False, many_steps=True)

    def __init__(self, attack: Attack, source: AttackedModel) -> None:
        self.attack, self.source = attack, source
        self.norms, self.goals = attack.norms, attack.goals  # type: ignore[misc]

    @classmethod
    def configured(cls, section: AttackSection, known: Knowledge) -> Self:
        """PGD or MI-FGSM on the margin in logits of the source."""
        assert isinstance(section, TransferConfig)
        assert known.source is not None  # the section names one
        if section.by is None:
            return cls(PGD(steps=section.steps, restarts=1, loss="margin"), known.source)
        ascent = MomentumAscent(steps=section.steps, **section.by.model_dump())
        return cls(MIFGSM(ascent, loss="margin"), known.source)

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The images that fool the source."""
        refuse_unfit_model(self.source)
        with frozen(self.source):
            return self.attack.perturb(Watched(self.source, images), images, goal, threat=threat)
