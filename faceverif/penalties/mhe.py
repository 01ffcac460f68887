"""MHE: class weights pushed apart on the sphere, as charges of one sign would be."""

from __future__ import annotations

import torch
from torch import Tensor

from faceverif.checked_tensors import require_two_classes
from faceverif.heads import Head
from faceverif.heads.angular import cosines
from faceverif.heads.sharding import ShardedOutput, sharding_of
from faceverif.penalties.base import EmbeddedBatch, Penalty
from faceverif.sharding.collectives import total
from faceverif.sharding.own_class import OwnClass

# |u - v|^2 of two unit vectors: rounding leaves 1e-7 of it when they coincide.
_SMALLEST_SQUARE = 1e-6


def hyperspherical_energy(weight: Tensor, labels: Tensor) -> Tensor:
    """Mean of |u_y - u_j|^-2 over all other classes j, u the unit class weights.

    Liu et al., "Learning towards Minimum Hyperspherical Energy" (2018), Eq. 1 with s = 2, for the classes of
    a batch against all, as SphereFace+ trains. All classes as labels give the energy itself.

    Args:
        weight: (classes, dim).
        labels: (batch,), int64 in [0, classes).

    Returns:
        (batch,).

    Raises:
        InputError: a single class.
    """
    require_two_classes(len(weight))
    return _energies(weight[labels], weight, labels).sum(dim=1) / (len(weight) - 1)


def _energies(own_weight: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """(batch, classes) |u_y - u_j|^-2, zero for the own class; one outside [0, classes) is not among them."""
    # |u - v|^2 = 2 - 2 u . v.
    squares = (2.0 - 2.0 * cosines(own_weight, weight)).clamp_min(_SMALLEST_SQUARE)
    own = labels[:, None] == torch.arange(len(weight), device=labels.device)
    return torch.where(own, 0.0, squares.reciprocal())


class MHE(Penalty):
    """See `hyperspherical_energy`."""

    def forward(self, batch: EmbeddedBatch) -> Tensor:
        """(batch,), of the head's class weights."""
        return hyperspherical_energy(batch.head.centres(), batch.labels)

    def of_shards(self, output: ShardedOutput, head: Head) -> Tensor:
        """(batch,); the weights of the own classes come from the processes that hold them."""
        weight, shard = head.centres(), sharding_of(head).shard
        labels = output.labels - shard.start
        own_weight = total(OwnClass.among(labels, len(weight)).rows_of(weight))
        return total(_energies(own_weight, weight, labels).sum(dim=1)) / (shard.classes - 1)
