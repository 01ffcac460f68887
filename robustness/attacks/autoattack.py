"""AutoAttack: four attacks one after the other, each on the images that withstood those before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import Watched, answers_differ
from robustness.attacks.apgd import APGD
from robustness.attacks.base import Attack
from robustness.attacks.fab import FAB
from robustness.attacks.goal import Goal
from robustness.attacks.square import Square
from robustness.attacks.traits import Traits
from robustness.config.attacks import APGDLoss, AutoAttackConfig

# Images that are looked at twice, to find a model whose output is random.
_ASKED_TWICE = 8


class AutoAttack(Attack):
    """Croce & Hein, "Reliable Evaluation of Adversarial Robustness" (2020), Sec. 6; no setting to choose.

    APGD on cross entropy, APGD on the difference of logits ratio, the same towards each class, FAB towards
    each class, and Square. The paper's Square for l2 is missing here: with l2 the bundle ends with FAB. With
    several samples it is the authors' version for random models: APGD on both losses, with mean gradients.

    Args:
        steps: of APGD and of FAB.
        targets: classes that are named one by one.
        queries: of Square.
        samples: gradients that are averaged at each step (EOT); more than one allows a random output.
    """

    section = AutoAttackConfig
    traits = Traits(
        follows_gradients=True, many_steps=True, no_weaker_than=frozenset({"pgd", "apgd", "fab", "square"})
    )
    goals = frozenset({"untargeted"})

    def __init__(self, *, steps: int, targets: int, queries: int, samples: int = 1) -> None:
        self.steps, self.targets, self.queries, self.samples = steps, targets, queries, samples

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The first version that is found for each image; else the last one tried."""
        if self.samples == 1:
            refuse_random(model, images[:_ASKED_TWICE])
        changed = images.clone()
        left = torch.arange(len(images), device=images.device)
        for attack in self._attacks(threat):
            with model.gradients.of(left):
                changed[left] = attack.perturb(model, images[left], goal.take(left), threat=threat)
            with torch.no_grad():
                left = left[~goal.take(left).reached(model(changed[left]))]
            if not len(left):
                break
        model.queries.used = None  # it counted for the last images alone
        return changed

    def _attacks(self, threat: ThreatModel) -> Iterator[Attack]:
        for loss in get_args(APGDLoss):
            yield APGD(steps=self.steps, restarts=1, loss=loss, targets=0, samples=self.samples)
        if self.samples > 1:
            return
        yield APGD(steps=self.steps, restarts=1, loss="dlr", targets=self.targets)
        yield FAB(steps=self.steps, targets=self.targets)
        if threat.norm in Square.norms:
            yield Square(queries=self.queries)


@torch.no_grad()
def refuse_random(model: Watched, images: Tensor) -> None:
    """Stop on a model that answers differently when it is asked again: its gradients mislead an attack.

    Raises:
        InputError: two passes over the same images give other logits.
    """
    first, second = model(images), model(images)
    if answers_differ(first, second):
        raise InputError(
            "model",
            "must give the same output twice for the same image",
            got=f"logits that differ by up to {(first - second).abs().max():.3g}",
            fix="Set samples: 20, which averages gradients, or turn the randomness off.",
        )
