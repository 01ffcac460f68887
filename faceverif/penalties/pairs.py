"""Pair losses of metric learning, from pytorch-metric-learning: comparators of the papers' losses.

The library looks the pairs of a batch up by index, so each step waits for a GPU. No other penalty does. It is
imported where one of them is built: it brings scipy.stats, which takes seconds.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from faceverif.penalties.base import EmbeddedBatch, Penalty


class _PairLoss(Penalty):
    """A loss of the library on the embeddings and labels of a batch."""

    sees_classes = False
    loss: nn.Module

    def forward(self, batch: EmbeddedBatch) -> Tensor:
        """A single number; 0 where the batch has nothing to compare, such as no pair of one class."""
        return self.loss(batch.embeddings, batch.labels)


class Triplet(_PairLoss):
    """Triplet loss, Schroff et al., "FaceNet" (2015): max(0, d_ap - d_an + margin).

    The mean over all triplets of the batch that violate the margin; distances are not squared.

    Args:
        margin: between the distances of unit embeddings to one of the same class and one of another.
    """

    def __init__(self, *, margin: float) -> None:
        from pytorch_metric_learning import losses

        super().__init__()
        self.loss = losses.TripletMarginLoss(margin=margin)


class Margin(_PairLoss):
    """Margin loss with distance-weighted sampling, Wu et al., "Sampling Matters" (2017).

    max(0, alpha + d - beta) for a pair of one class, max(0, alpha + beta - d) for one of two, distances of
    unit embeddings; the sum over the pairs drawn, by the number of those above zero.

    Args:
        margin: alpha of the paper.
        boundary: beta of the paper, between distances of the same class and of others.
    """

    def __init__(self, *, margin: float, boundary: float) -> None:
        from pytorch_metric_learning import losses, miners

        super().__init__()
        self.loss = losses.MarginLoss(margin=margin, beta=boundary)
        self.miner = miners.DistanceWeightedMiner(cutoff=0.5, nonzero_loss_cutoff=1.4)

    def forward(self, batch: EmbeddedBatch) -> Tensor:
        """A single number; 0 where the batch has no pair of one class."""
        return self.loss(batch.embeddings, batch.labels, self.miner(batch.embeddings, batch.labels))


class NPair(_PairLoss):
    """N-pair loss, Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss" (2016).

    Of every class with a pair one pair; each anchor's cross entropy over its products with all positives. Raw
    embeddings, as in the paper; its L2 regularisation of them is left to weight decay.
    """

    def __init__(self) -> None:
        from pytorch_metric_learning import losses
        from pytorch_metric_learning.distances import DotProductSimilarity

        super().__init__()
        self.loss = losses.NPairsLoss(distance=DotProductSimilarity(normalize_embeddings=False))


class ProxyNCA(_PairLoss):
    """ProxyNCA, Movshovitz-Attias et al. (2017): a learned proxy for every class.

    The cross entropy of minus scale times the squared distances to all proxies. The paper leaves the own
    proxy out of the sum below the fraction; with it, as in pytorch-metric-learning, the loss ends at zero.

    Args:
        classes: how many there are.
        embedding_dim: length of an embedding.
        scale: factor of the squared distances of unit vectors.
    """

    def __init__(self, *, classes: int, embedding_dim: int, scale: float) -> None:
        from pytorch_metric_learning import losses

        super().__init__()
        self.loss = losses.ProxyNCALoss(
            num_classes=classes, embedding_size=embedding_dim, softmax_scale=scale
        )


class Contrastive(_PairLoss):
    """Contrastive loss, Hadsell et al., "Learning an Invariant Mapping" (2006), Eq. 4.

    1/2 d^2 for a pair of one class, 1/2 max(0, margin - d)^2 for one of two: the mean over all pairs of one
    kind plus the mean over those of the other.

    Args:
        margin: distance of unit embeddings up to which two classes repel each other.
    """

    def __init__(self, *, margin: float) -> None:
        super().__init__()
        self.loss = _half_squares(margin)


def _half_squares(margin: float) -> nn.Module:
    """The library's hinges, squared and halved."""
    from pytorch_metric_learning import losses
    from pytorch_metric_learning.reducers import MeanReducer

    class HalfSquares(losses.ContrastiveLoss):
        def get_per_pair_loss(self, pair_dists: Tensor, pos_or_neg: str) -> Any:
            return 0.5 * super().get_per_pair_loss(pair_dists, pos_or_neg).square()

    return HalfSquares(pos_margin=0.0, neg_margin=margin, reducer=MeanReducer())
