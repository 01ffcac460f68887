"""UniFace's unified cross entropy: every logit is judged by one threshold that all samples share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceverif.checked_tensors import refuse_bad_labels
from faceverif.criteria.base import Criterion
from faceverif.sharding.logits import ShardedLogits
from faceverif.sharding.own_class import OwnClass


def unified_cross_entropy(margin_logits: Tensor, labels: Tensor, threshold: Tensor) -> Tensor:
    """log(1 + exp(b - z_y)) + sum_{j != y} log(1 + exp(z_j - b)).

    Zhou et al., "UniFace" (2023), Sec. 3: the softmax only asks that the true class has the largest logit of
    its own sample; this asks that every true class's logit exceeds b, and every other one lies below it. So
    one threshold parts all pairs of the same and of different people. The paper's UniFace takes CosFace's
    logits, z_j = s cos(theta_j) and z_y = s (cos(theta_y) - m). The authors' code clips each z - b to
    [-s, s], where it loses its gradient, and has a factor l of the second term, by default 1.

    Args:
        margin_logits: z, (batch, classes).
        labels: (batch,), int64 in [0, classes).
        threshold: b, a single number.

    Returns:
        (batch,).

    Raises:
        InputError: labels out of range.
    """
    refuse_bad_labels(labels, batch=len(margin_logits), classes=margin_logits.shape[1])
    own = OwnClass.among(labels, margin_logits.shape[1])
    negatives = _above(margin_logits, own, threshold).sum(dim=1)
    return F.softplus(threshold - own.of(margin_logits)) + negatives


def _above(logits: Tensor, own: OwnClass, threshold: Tensor) -> Tensor:
    """(batch, classes) log(1 + exp(z_j - b)), zero at the own class."""
    return own.replaced(F.softplus(logits - threshold), 0.0)


class UnifiedCrossEntropy(Criterion):
    """See `unified_cross_entropy`; its threshold is learned. Weight decay spares it; the authors' does not.

    Args:
        classes: C. The threshold begins at log(10 C), as in the authors' code. Negative logits of exactly
            zero then add 0.1 to the loss, however many classes there are. Random ones at scale 64 in 512
            dimensions have a standard deviation of 64 / sqrt(512) = 2.8, and add about 5. With a share r of
            drawn classes the authors begin at log(10 C r).
    """

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(math.log(10.0 * classes)))

    def forward(self, margin_logits: Tensor, labels: Tensor) -> Tensor:
        """Loss per sample, (batch,)."""
        return unified_cross_entropy(margin_logits, labels, self.threshold)

    def of_shards(self, logits: ShardedLogits) -> Tensor:
        """Loss per sample, (batch,)."""
        negatives = logits.summed(_above(logits.columns, logits.own, self.threshold))
        return F.softplus(self.threshold - logits.own_logits) + negatives
