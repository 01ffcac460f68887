"""GSC: Gaussian score calibrating, a penalty on undecided predictions that lets go of decided ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.heads import Head
from faceverif.heads.sharding import ShardedOutput
from faceverif.penalties.base import EmbeddedBatch, Penalty
from faceverif.penalties.entropy import entropy_of_shards, scaled_entropy

# At an entropy of 1e-3 the density is exp(-500,000 |K|^2): zero in any float, and so is its gradient, while
# the pieces that they are made of overflow below.
_SMALLEST_DEVIATION = 1e-3
_LARGEST_TOP_C = 64


def gsc_penalty(logits: Tensor, *, top_c: int) -> Tensor:
    """f = prod_{i <= top_c} N(K_i; 0, H), K the largest scores and H their scaled entropy.

    Zhao et al., "GSC Loss" (2022), Eqs. 4-9: S = softmax(logits), K = Topk(S), H = entropy(S) / log(C). In
    log space, -top_c / 2 log(2 pi H^2) - |K|^2 / (2 H^2), since the factors overflow where f goes to 0.

    Args:
        logits: (batch, classes), those that the criterion sees.
        top_c: how many of the largest scores are looked at, 1 to classes and at most 64, beyond which the
            product of densities leaves float32; 2 to 7 in the paper.

    Returns:
        (batch,).

    Raises:
        InputError: top_c out of range.
    """
    classes = logits.shape[1]
    _require_top_c(top_c, classes=classes)
    log_scores = F.log_softmax(logits, dim=1)
    largest = torch.topk(log_scores, top_c, dim=1).values.exp()
    return gaussian_score(largest, deviation=scaled_entropy(log_scores))


def gaussian_score(scores: Tensor, *, deviation: Tensor) -> Tensor:
    """prod_i N(score_i; 0, deviation), Eq. 5 of Zhao et al. (2022).

    Args:
        scores: (batch, count).
        deviation: (batch,), >= 0; held at 1e-3 below that, where the product is zero in any float.

    Returns:
        (batch,).
    """
    deviation = deviation.clamp_min(_SMALLEST_DEVIATION)
    log_density = -scores.shape[1] * (0.5 * math.log(2.0 * math.pi) + deviation.log())
    return torch.exp(log_density - scores.square().sum(dim=1) / (2.0 * deviation.square()))


def _require_top_c(top_c: int, *, classes: int) -> None:
    largest = min(classes, _LARGEST_TOP_C)
    if not 1 <= top_c <= largest:
        why = "the number of classes" if largest == classes else "or the product leaves float32"
        raise InputError(
            "top_c", f"must lie in [1, {largest}], {why}", got=top_c, fix="The paper uses 2 to 7."
        )


class GSC(Penalty):
    """See `gsc_penalty`.

    Args:
        top_c: how many of the largest scores are looked at.
        classes: how many there are.

    Raises:
        InputError: top_c out of range.
    """

    def __init__(self, *, top_c: int, classes: int) -> None:
        super().__init__()
        _require_top_c(top_c, classes=classes)
        self.top_c = top_c

    def forward(self, batch: EmbeddedBatch) -> Tensor:
        """(batch,), of the margin logits: those that the criterion sees."""
        return gsc_penalty(batch.output.margin_logits, top_c=self.top_c)

    def of_shards(self, output: ShardedOutput, head: Head) -> Tensor:
        """(batch,); the largest scores come from the largest of every process."""
        largest = output.columns.largest_scores(self.top_c)
        return gaussian_score(largest, deviation=entropy_of_shards(output.columns))
