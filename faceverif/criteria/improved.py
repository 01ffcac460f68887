"""The improved loss: cross entropy, weighted by a softmax that turns away from what is already right."""

from __future__ import annotations

import torch
from torch import Tensor

from faceverif.checked_tensors import require_not_negative
from faceverif.criteria.base import Criterion
from faceverif.criteria.cross_entropy import cross_entropy
from faceverif.sharding.logits import ShardedLogits


def improved_loss(logits: Tensor, labels: Tensor, *, beta: float, gamma: float) -> Tensor:
    """-exp(gamma) softmax(-beta x)_y log softmax(x)_y at the true class.

    Wen et al., "Improved Loss Function for Image Classification" (2021), Eq. 4. The first
    softmax is near 1 where the true class has the lowest logit, and vanishes where it has the highest. It is
    part of the function, so the gradient goes through it too.

    exp(gamma) scales the loss and nothing else. AdamW's steps, and those of Adam without decay or with
    clipped gradients, do not depend on the scale (beyond their epsilon): there gamma does nothing. With
    weight decay as L2 in Adam's gradient, a larger gamma is a smaller decay; with SGD it is that and a
    larger learning rate.

    Args:
        logits: (batch, classes).
        labels: (batch,), int64 in [0, classes).
        beta: how sharply easy samples lose their weight, >= 0; 4 in the paper.
        gamma: exp(gamma) scales the whole; 5 in the paper, 10 on Fashion-MNIST.

    Returns:
        (batch,).

    Raises:
        InputError: a negative beta, or labels out of range.
    """
    require_not_negative("beta", beta)
    return weighted(cross_entropy(logits, labels), cross_entropy(-beta * logits, labels), gamma=gamma)


def weighted(surprise: Tensor, surprise_turned: Tensor, *, gamma: float) -> Tensor:
    """`improved_loss` of two cross entropies, (batch,): of the logits x, and of -beta x."""
    return torch.exp(gamma - surprise_turned) * surprise


class ImprovedLoss(Criterion):
    """See `improved_loss`.

    Args:
        beta: >= 0.
        gamma: exponent of the scale.
    """

    def __init__(self, *, beta: float, gamma: float) -> None:
        super().__init__()
        self.beta = beta
        self.gamma = gamma

    def forward(self, margin_logits: Tensor, labels: Tensor) -> Tensor:
        """Loss per sample, (batch,)."""
        return improved_loss(margin_logits, labels, beta=self.beta, gamma=self.gamma)

    def of_shards(self, logits: ShardedLogits) -> Tensor:
        """Loss per sample, (batch,)."""
        return weighted(logits.surprise, logits.times(-self.beta).surprise, gamma=self.gamma)
