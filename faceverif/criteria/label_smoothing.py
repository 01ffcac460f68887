"""Label smoothing: a share of every label is spread over all classes."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.checked_tensors import refuse_bad_labels
from faceverif.criteria.base import Criterion
from faceverif.sharding.logits import ShardedLogits


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float) -> Tensor:
    """Cross entropy with (1 - smoothing) [k = y] + smoothing / C instead of the label.

    Szegedy et al., "Rethinking the Inception Architecture" (2016), Sec. 7.

    Args:
        logits: (batch, classes).
        labels: (batch,), int64 in [0, classes).
        smoothing: in [0, 1).

    Returns:
        (batch,).

    Raises:
        InputError: a smoothing or labels out of range.
    """
    if not 0 <= smoothing < 1:
        raise InputError("smoothing", "must lie in [0, 1)", got=smoothing, fix="The paper's is 0.1.")
    refuse_bad_labels(labels, batch=len(logits), classes=logits.shape[1])
    return F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)


class LabelSmoothing(Criterion):
    """See `smoothed_cross_entropy`.

    Args:
        smoothing: in [0, 1).
    """

    def __init__(self, *, smoothing: float) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(self, margin_logits: Tensor, labels: Tensor) -> Tensor:
        """Loss per sample, (batch,)."""
        return smoothed_cross_entropy(margin_logits, labels, smoothing=self.smoothing)

    def of_shards(self, logits: ShardedLogits) -> Tensor:
        """Loss per sample, (batch,)."""
        of_all = logits.normaliser - logits.summed(logits.columns) / logits.classes
        return (1.0 - self.smoothing) * logits.surprise + self.smoothing * of_all
