"""The contract of a criterion: margin logits and labels in, a loss per sample out."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Criterion(nn.Module, ABC):
    """What turns logits into a loss.

    A new criterion is a pure function with the maths, a subclass that stores its arguments, a config, and a
    line in the registry of `faceverif.criteria`.
    """

    @abstractmethod
    def forward(self, margin_logits: Tensor, labels: Tensor) -> Tensor:
        """Loss per sample, (batch,), of (batch, classes) logits and (batch,) labels."""

    def end_epoch(self) -> None:
        """Take over what an epoch has gathered, for criteria that change from epoch to epoch."""
