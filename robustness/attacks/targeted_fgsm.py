"""Targeted FGSM: one step down the whole training loss of another class."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from faceverif.perturbation.ascent import gradient_of
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import Watched
from robustness.attacks.base import Attack
from robustness.attacks.goal import Goal
from robustness.attacks.traits import Traits
from robustness.config.attacks import TargetedFGSMConfig


class TargetedFGSM(Attack):
    """x - epsilon sign(grad L(x, target)), L-GM (Wan et al., 2018), Sec. 4.3. foolbox's FGSM has no targets.

    L is the loss of the training with its margin and penalties. For L-GM that is classification plus lambda
    times likelihood, so the step also raises the likelihood under the target class. If no targets are given,
    they are the second most likely classes, as in the paper.
    """

    section = TargetedFGSMConfig
    traits = Traits(follows_gradients=True, many_steps=False)
    goals: ClassVar[frozenset[str]] = frozenset({"targeted"})

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """One step."""
        gradient = gradient_of(
            lambda pixels: model.training_loss(model.embed(pixels), goal.named)[None], images
        )
        return images - threat.epsilon * threat.step(gradient)
