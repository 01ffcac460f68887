"""The contract of a criterion: margin logits and labels in, a loss per sample out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from faceverif.sharding.logits import ShardedLogits


class Criterion(nn.Module, ABC):
    """What turns logits into a loss.

    A new criterion is a pure function with the maths, a subclass that stores its arguments, a config, and a
    line in the registry of `faceverif.criteria`. Where classes may be spread over processes it also defines
    `of_shards`.

    Attributes:
        own_sums: names of its buffers that are sums over what this process has seen; a checkpoint holds those
            of all processes.
    """

    own_sums: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, margin_logits: Tensor, labels: Tensor) -> Tensor:
        """Loss per sample, (batch,), not reduced.

        Args:
            margin_logits: (batch, classes), with the head's margin.
            labels: (batch,), int64 in [0, classes).

        Raises:
            InputError: labels out of range.
        """

    def of_shards(self, logits: ShardedLogits) -> Tensor:
        """`forward`, (batch,), of margin logits whose classes are spread over processes.

        One that needs all classes in one place leaves this out, and `Objective.spread_classes` refuses it.
        """
        raise NotImplementedError

    def end_epoch(self) -> None:
        """Take over what an epoch has gathered, for criteria that change from epoch to epoch."""
