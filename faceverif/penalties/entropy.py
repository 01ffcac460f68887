"""The entropy of the predicted scores, the plainest penalty on being undecided."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from faceverif.checked_tensors import require_two_classes
from faceverif.heads import Head
from faceverif.heads.sharding import ShardedOutput
from faceverif.penalties.base import EmbeddedBatch, Penalty
from faceverif.sharding.logits import ShardedLogits


def scaled_entropy(log_scores: Tensor) -> Tensor:
    """H(S) = -sum_k S_k log S_k / log(C), in [0, 1].

    Zhao et al., "GSC Loss" (2022), Eqs. 7, 8. A score that underflows adds nothing: 0 log 0 = 0.

    Args:
        log_scores: (batch, classes), a log softmax.

    Returns:
        (batch,).

    Raises:
        InputError: a single class.
    """
    return -_terms(log_scores).sum(dim=1) / _largest(log_scores.shape[1])


def entropy_of_shards(logits: ShardedLogits) -> Tensor:
    """`scaled_entropy`, (batch,), of logits whose classes are spread over processes."""
    return -logits.summed(_terms(logits.log_scores)) / _largest(logits.classes)


def _largest(classes: int) -> float:
    """The entropy of scores that are all the same."""
    require_two_classes(classes)
    return math.log(classes)


def _terms(log_scores: Tensor) -> Tensor:
    # exp(-80) * 80 is below 1e-32 already, and a -inf would make 0 * inf.
    return log_scores.exp() * log_scores.clamp_min(-80.0)


class Entropy(Penalty):
    """H(S) of the margin logits, as the comparator of Zhao et al. (2022), Sec. 4.1."""

    def forward(self, batch: EmbeddedBatch) -> Tensor:
        """(batch,)."""
        return scaled_entropy(F.log_softmax(batch.output.margin_logits, dim=1))

    def of_shards(self, output: ShardedOutput, head: Head) -> Tensor:
        """(batch,)."""
        return entropy_of_shards(output.columns)
