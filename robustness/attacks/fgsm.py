"""FGSM: one step along the sign of the gradient."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from faceverif.perturbation.ascent import ascend
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import Watched
from robustness.attacks.base import Attack
from robustness.attacks.goal import Goal, cross_entropy_gain
from robustness.attacks.traits import Traits
from robustness.config.attacks import FGSMConfig


class FGSM(Attack):
    """x + epsilon sign(grad CE(logits, y)), Goodfellow et al. (2015); with l2 along the gradient itself.

    The loss is the cross entropy of the margin-free logits.
    """

    section = FGSMConfig
    traits = Traits(follows_gradients=True, many_steps=False)
    goals: ClassVar[frozenset[str]] = frozenset({"untargeted"})

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """One step."""

        def gain(pixels: Tensor) -> Tensor:
            return cross_entropy_gain(model(pixels), goal)

        return ascend(gain, images, images, threat=threat, lengths=[threat.epsilon])
