"""MI-FGSM on classes: steps with momentum, whose images deceive other models too."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import Watched
from robustness.attacks.base import Attack
from robustness.attacks.goal import GAINS, Goal
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.momentum import MomentumAscent
from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection, Loss
from robustness.config.attacks import MIFGSMConfig


class MIFGSM(Attack):
    """Dong et al., "Boosting Adversarial Attacks with Momentum" (2018), Algorithm 1; later papers' options.

    Args:
        ascent: momentum, and what else is done to the gradient.
        loss: what is raised; the papers take the cross entropy, which saturates.
    """

    section = MIFGSMConfig
    traits = Traits(follows_gradients=True, many_steps=True)

    def __init__(self, ascent: MomentumAscent, *, loss: Loss = "margin") -> None:
        self.ascent, self.loss = ascent, loss

    @classmethod
    def configured(cls, section: AttackSection, known: Knowledge) -> Self:
        """With the ascent of its section."""
        own = section.own_settings()
        loss = own.pop("loss")
        return cls(MomentumAscent(**own), loss=loss)

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The last version."""
        return self.ascent(lambda pixels: GAINS[self.loss](model(pixels), goal), images, threat=threat)
