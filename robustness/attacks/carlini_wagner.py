"""Carlini & Wagner: the smallest change by an optimiser, its price found by bisection."""

from __future__ import annotations

import torch
from torch import Tensor

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import Watched
from robustness.attacks.base import Attack
from robustness.attacks.goal import Goal
from robustness.attacks.through_foolbox import foolbox_attacks, run_foolbox
from robustness.attacks.traits import Traits
from robustness.config.attacks import CarliniWagnerConfig


class CarliniWagner(Attack):
    """min |delta|^2 + c max(0, margin + confidence), Carlini & Wagner (2017), Sec. VI A. Through foolbox.

    A change that is larger than epsilon is shortened, and then mostly fails. If no change is found, the image
    stays as it is.

    Args:
        steps: of the optimiser, at each price c.
        search_steps: of the search for c: ten times larger until the goal is reached, then bisection.
        step: of the optimiser, in the space of atanh(2 x - 1).
        price: the first c.
        confidence: margin in logits by which the goal must be reached.
    """

    section = CarliniWagnerConfig
    traits = Traits(follows_gradients=True, many_steps=True, no_weaker_than=frozenset({"deepfool"}))
    norms = CarliniWagnerConfig.norms()

    def __init__(
        self, *, steps: int, search_steps: int, step: float, price: float, confidence: float
    ) -> None:
        self.steps, self.search_steps, self.step = steps, search_steps, step
        self.price, self.confidence = price, confidence

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The smallest change found."""
        attack = foolbox_attacks.L2CarliniWagnerAttack(
            binary_search_steps=self.search_steps,
            steps=self.steps,
            stepsize=self.step,
            initial_const=self.price,
            confidence=self.confidence,
        )
        changed = run_foolbox(attack, model, images, goal, early_stop=threat.epsilon)
        # Where foolbox finds nothing it returns a black image.
        found = changed.flatten(1).any(dim=1)
        return torch.where(found[:, None, None, None], changed, images)
