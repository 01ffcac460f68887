"""FGSM: one step along the sign of the gradient."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import Watched
from robustness.attacks.base import Attack
from robustness.attacks.goal import Goal
from robustness.attacks.through_foolbox import foolbox_attacks, run_foolbox
from robustness.attacks.traits import Traits
from robustness.config.attacks import FGSMConfig


class FGSM(Attack):
    """x + epsilon sign(grad CE(logits, y)), Goodfellow et al. (2015); with l2 along the gradient itself.

    The loss is the cross entropy of the margin-free logits. Through foolbox.
    """

    section = FGSMConfig
    traits = Traits(follows_gradients=True, many_steps=False)
    goals: ClassVar[frozenset[str]] = frozenset({"untargeted"})

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """One step."""
        linf = threat.norm == "linf"
        attack = (foolbox_attacks.LinfFastGradientAttack if linf else foolbox_attacks.L2FastGradientAttack)()
        return run_foolbox(attack, model, images, goal, epsilon=threat.epsilon)
