"""Logits of a whole batch whose columns are spread over processes, and what losses ask of all of them."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from faceverif.sharding.collectives import gathered, largest, processes, total
from faceverif.sharding.own_class import OwnClass


class ShardedLogits:
    """(batch, classes) logits, of which this process holds some columns.

    Args:
        columns: (batch, classes of this process).
        own: each sample's own class among these.
        numbers: (classes of this process,), which classes they are, among all.
        classes: how many columns all processes hold together.
    """

    def __init__(self, columns: Tensor, own: OwnClass, numbers: Tensor, *, classes: int) -> None:
        self.columns, self.own, self.numbers, self.classes = columns, own, numbers, classes

    @cached_property
    def _sums(self) -> tuple[Tensor, Tensor]:
        """Two all-reduces, and one more for the gradient: see `normaliser` and `own_logits`."""
        peak = largest(self.columns.detach().amax(dim=1))
        exponentials = torch.exp(self.columns - peak[:, None]).sum(dim=1)
        sums = total(torch.stack((exponentials, self.own.of(self.columns))))
        return peak + sums[0].log(), sums[1]

    @property
    def normaliser(self) -> Tensor:
        """(batch,) log of the sum of the exponentials over all classes."""
        return self._sums[0]

    @property
    def own_logits(self) -> Tensor:
        """(batch,) of each sample's own class."""
        return self._sums[1]

    @property
    def surprise(self) -> Tensor:
        """(batch,) cross entropy, -log softmax at the own class."""
        return self.normaliser - self.own_logits

    @property
    def log_scores(self) -> Tensor:
        """(batch, classes of this process), the log softmax over all classes."""
        return self.columns - self.normaliser[:, None]

    def times(self, factor: float) -> ShardedLogits:
        """All logits multiplied."""
        return ShardedLogits(factor * self.columns, self.own, self.numbers, classes=self.classes)

    def summed(self, values: Tensor) -> Tensor:
        """(batch,), the sum over all classes of what every process has for its own, (batch, its classes)."""
        return total(values.sum(dim=1))

    def largest_scores(self, count: int) -> Tensor:
        """(batch, count), the largest of the softmax over all classes, in falling order."""
        scores = self.log_scores
        here = scores.topk(min(count, scores.shape[1]), dim=1).values
        missing = here.new_full((len(here), count - here.shape[1]), -torch.inf)
        by_process = gathered(torch.cat((here, missing), dim=1)).unflatten(0, (processes(), len(here)))
        candidates = by_process.transpose(0, 1).flatten(1)
        return candidates.topk(count, dim=1).values.exp()


def log_softmax(columns: Tensor) -> Tensor:
    """(batch, classes of this process), the log softmax over all classes, where no own classes are known."""
    peak = largest(columns.detach().amax(dim=1, keepdim=True))
    return columns - peak - total(torch.exp(columns - peak).sum(dim=1, keepdim=True)).log()
