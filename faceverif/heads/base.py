"""The contract of a head: raw embeddings and labels in, logits out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class HeadOutput(NamedTuple):
    """What a head says of a batch.

    Attributes:
        logits: (batch, classes) margin-free: for accuracy, prediction, likelihood and attack.
        margin_logits: (batch, classes) with the margin at the true class: for the criterion.
    """

    logits: Tensor
    margin_logits: Tensor


class Head(nn.Module, ABC):
    """Class centres and the rule that compares embeddings with them.

    A head receives raw embeddings, (batch, dim), whatever their norm, and owns its class centres. A new head
    is a pure function with the maths, a subclass that stores its arguments, a config, and a line in the
    registry of `faceverif.heads`.
    """

    @abstractmethod
    def forward(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Logits with and without the margin; labels are (batch,), int64 in [0, classes)."""

    @abstractmethod
    def logits(self, embeddings: Tensor) -> Tensor:
        """Margin-free logits, (batch, classes)."""

    def set_margin_progress(self, progress: float) -> None:
        """Grow the margin with training; `progress` runs from 0 (no margin) to 1 (the whole margin)."""
