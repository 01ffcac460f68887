"""Transfer: attack a model that is known, and show the result to one that is not."""

from __future__ import annotations

from torch import Tensor

from robustness.attacked_model import AttackedModel, Watched, frozen, refuse_unfit_model
from robustness.attacks.base import Attack
from robustness.attacks.goal import Goal
from robustness.threat_model import ThreatModel


class Transfer(Attack):
    """What another attack finds on another model; the attacked model is asked for nothing.

    A model whose gradients are masked falls to this and not to the attack itself.

    Args:
        attack: what is done to the source.
        source: a model of the same images and classes, where the attacked model lies.
    """

    def __init__(self, attack: Attack, source: AttackedModel) -> None:
        refuse_unfit_model(source)
        self.attack, self.source = attack, source
        self.norms, self.goals = attack.norms, attack.goals  # type: ignore[misc]

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The images as the source is fooled by them."""
        refuse_unfit_model(self.source)
        with frozen(self.source):
            return self.attack.perturb(Watched(self.source, images), images, goal, threat=threat)
