"""Focal loss: cross entropy with less weight on what is already right."""

from __future__ import annotations

import torch
from torch import Tensor

from faceverif.checked_tensors import require_not_negative
from faceverif.criteria.base import Criterion
from faceverif.criteria.cross_entropy import cross_entropy
from faceverif.sharding.logits import ShardedLogits


def focal_loss(logits: Tensor, labels: Tensor, *, gamma: float) -> Tensor:
    """-(1 - p_y)^gamma log p_y.

    Lin et al., "Focal Loss for Dense Object Detection" (2017), Eq. 4, with the softmax's probability of the
    true class. gamma = 0 is the cross entropy.

    Args:
        logits: (batch, classes).
        labels: (batch,), int64 in [0, classes).
        gamma: >= 0.

    Returns:
        (batch,).

    Raises:
        InputError: a negative gamma, or labels out of range.
    """
    require_not_negative("gamma", gamma)
    return focused(cross_entropy(logits, labels), gamma=gamma)


def focused(surprise: Tensor, *, gamma: float) -> Tensor:
    """`focal_loss` of the cross entropy, (batch,)."""
    if gamma == 0:
        return surprise
    # 1 - p, which keeps its digits for p near 1 as long as the surprise does. The power of zero has no finite
    # slope for gamma < 1.
    doubt = -torch.expm1(-surprise)
    return doubt.clamp_min(torch.finfo(doubt.dtype).tiny) ** gamma * surprise


class FocalLoss(Criterion):
    """See `focal_loss`.

    Args:
        gamma: how fast easy samples lose their weight, >= 0.
    """

    def __init__(self, *, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, margin_logits: Tensor, labels: Tensor) -> Tensor:
        """Loss per sample, (batch,)."""
        return focal_loss(margin_logits, labels, gamma=self.gamma)

    def of_shards(self, logits: ShardedLogits) -> Tensor:
        """Loss per sample, (batch,)."""
        return focused(logits.surprise, gamma=self.gamma)
