"""The contract of a penalty: what a batch looked like in, what is added to the loss out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from faceverif.heads import Head, HeadOutput
from faceverif.heads.sharding import ShardedOutput


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
        lesson: what a teacher makes of them; None where there is none.
    """

    embeddings: Tensor
    labels: Tensor
    output: HeadOutput
    head: Head
    lesson: Lesson | None = None


class Penalty(nn.Module, ABC):
    """What is added to the criterion, with a weight.

    A new penalty is a pure function with the maths, a subclass that stores its arguments, a config, and a
    line in the registry of `faceverif.penalties`. One that looks at the classes also defines `of_shards`,
    where they may be spread over processes.

    Attributes:
        sees_classes: whether it looks at logits or class centres. Where not, each process takes its share of
            the batch, whether the classes are spread or not.
        own_sums: names of its buffers that are sums over what this process has seen; a checkpoint holds those
            of all processes.
    """

    sees_classes: ClassVar[bool] = True
    own_sums: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, batch: EmbeddedBatch) -> Tensor:
        """The penalty without its weight: (batch,), of which the mean counts, or a single number."""

    def of_shards(self, output: ShardedOutput, head: Head) -> Tensor:
        """`forward`, of the batch of all processes and classes that are spread over them.

        One that needs all classes in one place leaves this out, and `Objective.spread_classes` refuses it.
        """
        raise NotImplementedError

    def end_epoch(self) -> None:
        """Take over what an epoch has gathered, for penalties that change from epoch to epoch."""
