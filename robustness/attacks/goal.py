"""What an attack has to reach on a batch, and the losses that lead there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from robustness.config.attack_section import Loss


@dataclass(frozen=True)
class Goal:
    """Away from the labels, or to the targets.

    Attributes:
        labels: (batch,) int64, the true classes.
        targets: (batch,) int64, the classes wanted; None: any but the true one.
    """

    labels: Tensor
    targets: Tensor | None = None

    @property
    def targeted(self) -> bool:
        """Whether a certain class is wanted."""
        return self.targets is not None

    @property
    def named(self) -> Tensor:
        """(batch,) the class that the goal names: the target, or the true one."""
        return self.labels if self.targets is None else self.targets

    def reached(self, logits: Tensor) -> Tensor:
        """(batch,) bool, whether these logits, (batch, classes), reach the goal."""
        predicted = logits.argmax(dim=1)
        return predicted != self.labels if self.targets is None else predicted == self.targets

    def margin(self, logits: Tensor) -> Tensor:
        """(batch,) distance to the goal in logits, below 0 if reached; it never saturates."""
        own = logits.gather(1, self.named[:, None]).squeeze(1)
        others = logits.scatter(1, self.named[:, None], -torch.inf).amax(dim=1)
        return others - own if self.targeted else own - others

    def lead(self, logits: Tensor) -> Tensor:
        """(batch,) logit of the target, or of the best other class, minus that of the true class."""
        if self.targets is None:
            return -self.margin(logits)
        return logits.gather(1, self.targets[:, None]).squeeze(1) - logits.gather(
            1, self.labels[:, None]
        ).squeeze(1)

    def take(self, which: Tensor) -> Goal:
        """The goal for some of the batch: indices or a mask."""
        return Goal(self.labels[which], None if self.targets is None else self.targets[which])


def cross_entropy_gain(logits: Tensor, goal: Goal) -> Tensor:
    """(batch,) what an attack raises: cross entropy of the label, or minus that of the target.

    Its gradient is zero in float32 where the softmax saturates, although the model can be fooled.
    """
    loss = F.cross_entropy(logits, goal.named, reduction="none")
    return -loss if goal.targeted else loss


def margin_gain(logits: Tensor, goal: Goal) -> Tensor:
    """(batch,) minus the distance to the goal in logits, f6 of Carlini & Wagner (2017) without its hinge."""
    return -goal.margin(logits)


GAINS: dict[Loss, Callable[[Tensor, Goal], Tensor]] = {
    "cross_entropy": cross_entropy_gain,
    "margin": margin_gain,
}
