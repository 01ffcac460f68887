"""Each sample's own class among the classes at hand, which may be all or those of one process."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class OwnClass(NamedTuple):
    """Where the own classes of a batch are.

    Attributes:
        place: (batch,) int64, the own class's number among those at hand; any valid number where it is not.
        here: (batch,) bool, whether it is at hand.
    """

    place: Tensor
    here: Tensor

    @classmethod
    def among(cls, labels: Tensor, classes: int) -> OwnClass:
        """Of labels, (batch,) int64: those outside [0, classes) name a class that another process holds."""
        place = labels.clamp(0, classes - 1)
        return cls(place, place == labels)

    def of(self, matrix: Tensor) -> Tensor:
        """(batch,), the entries of a (batch, classes) matrix; zero where the class is not at hand."""
        return torch.where(self.here, matrix.gather(1, self.place[:, None]).squeeze(1), 0.0)

    def put(self, matrix: Tensor, values: Tensor | float) -> Tensor:
        """Write (batch,) values into a (batch, classes) matrix in place, where the class is at hand."""
        place = self.place[:, None]
        before = matrix.gather(1, place).squeeze(1)
        return matrix.scatter_(1, place, torch.where(self.here, values, before)[:, None])

    def replaced(self, matrix: Tensor, values: Tensor | float) -> Tensor:
        """A (batch, classes) matrix with (batch,) values where the class is at hand; has a gradient."""
        place = self.place[:, None]
        before = matrix.gather(1, place).squeeze(1)
        return matrix.scatter(1, place, torch.where(self.here, values, before)[:, None])

    def rows_of(self, weight: Tensor) -> Tensor:
        """(batch, dim), the rows of (classes, dim) weights; zeros where the class is not at hand."""
        return torch.where(self.here[:, None], weight[self.place], 0.0)
