"""DeepFool: the shortest way over the nearest boundary, found by linearising."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import Watched
from robustness.attacks.base import Attack
from robustness.attacks.goal import Goal
from robustness.attacks.through_foolbox import foolbox_attacks, run_foolbox
from robustness.attacks.traits import Traits
from robustness.config.attacks import DeepFoolConfig

# How many of the most likely classes are tried, and the share by which the boundary is crossed.
_CANDIDATES, _OVERSHOOT = 10, 0.02


class DeepFool(Attack):
    """Moosavi-Dezfooli et al. (2016), Algorithm 2. Through foolbox.

    It looks for the smallest change. A change larger than epsilon is shortened, and then mostly fails.

    Args:
        steps: at most.
    """

    section = DeepFoolConfig
    traits = Traits(follows_gradients=True, many_steps=True)
    goals: ClassVar[frozenset[str]] = frozenset({"untargeted"})

    def __init__(self, *, steps: int) -> None:
        self.steps = steps

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The shortest way found."""
        linf = threat.norm == "linf"
        method = foolbox_attacks.LinfDeepFoolAttack if linf else foolbox_attacks.L2DeepFoolAttack
        attack = method(steps=self.steps, candidates=_CANDIDATES, overshoot=_OVERSHOOT)
        return run_foolbox(attack, model, images, goal, early_stop=threat.epsilon)
