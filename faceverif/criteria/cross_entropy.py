"""Cross entropy."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from faceverif.checked_tensors import refuse_bad_labels
from faceverif.criteria.base import Criterion
from faceverif.sharding.logits import ShardedLogits


def cross_entropy(margin_logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(margin_logits)_y, in nats.

    Args:
        margin_logits: (batch, classes).
        labels: (batch,), int64 in [0, classes).

    Returns:
        (batch,).

    Raises:
        InputError: labels out of range.
    """
    # PyTorch takes the label -100 for one to ignore.
    refuse_bad_labels(labels, batch=len(margin_logits), classes=margin_logits.shape[1])
    return F.cross_entropy(margin_logits, labels, reduction="none")


class CrossEntropy(Criterion):
    """See `cross_entropy`."""

    def forward(self, margin_logits: Tensor, labels: Tensor) -> Tensor:
        """Loss per sample, (batch,)."""
        return cross_entropy(margin_logits, labels)

    def of_shards(self, logits: ShardedLogits) -> Tensor:
        """Loss per sample, (batch,)."""
        return logits.surprise
