"""The contract of a penalty: what a batch looked like in, what is added to the loss out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from faceverif.heads import Head, HeadOutput


class Lesson(NamedTuple):
    """What a teacher makes of a batch.

    Attributes:
        embeddings: (batch, dim), the teacher's, raw.
        features: for each layer with a hint, the student's features and the teacher's, of the same shape.
    """

    embeddings: Tensor
    features: tuple[tuple[Tensor, Tensor], ...] = ()


class EmbeddedBatch(NamedTuple):
    """What a penalty may look at.

    Attributes:
        embeddings: (batch, dim), raw, in float32.
        labels: (batch,), int64.
        output: what the head said of them.
        head: the head itself, for its class centres.
        lesson: what a teacher makes of them; null where there is none.
    """

    embeddings: Tensor
    labels: Tensor
    output: HeadOutput
    head: Head
    lesson: Lesson | None = None


class Penalty(nn.Module, ABC):
    """What is added to the criterion, with a weight.

    A new penalty is a pure function with the maths, a subclass that stores its arguments, a config, and a
    line in the registry of `faceverif.penalties`.
    """

    @abstractmethod
    def forward(self, batch: EmbeddedBatch) -> Tensor:
        """The penalty without its weight: (batch,), of which the mean counts, or a single number."""

    def end_epoch(self) -> None:
        """Take over what an epoch has gathered, for penalties that change from epoch to epoch."""
