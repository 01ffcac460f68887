"""Pair losses of metric learning, from pytorch-metric-learning: comparators of the papers' losses."""

from __future__ import annotations

from pytorch_metric_learning import losses, miners
from torch import Tensor

from faceverif.penalties.base import Batch, Penalty


class Triplet(Penalty):
    """Triplet loss over all triplets of the batch that violate the margin.

    Args:
        margin: between the distances of unit embeddings to one of the same class and one of another.
    """

    def __init__(self, *, margin: float) -> None:
        super().__init__()
        self.loss = losses.TripletMarginLoss(margin=margin)

    def forward(self, batch: Batch) -> Tensor:
        """A single number; 0 where the batch has no triplet."""
        return self.loss(batch.embeddings, batch.labels)


class Margin(Penalty):
    """Margin loss with distance-weighted sampling, Wu et al., "Sampling Matters" (2017).

    Args:
        margin: alpha of the paper.
        boundary: beta of the paper, between distances of the same class and of others.
    """

    def __init__(self, *, margin: float, boundary: float) -> None:
        super().__init__()
        self.loss = losses.MarginLoss(margin=margin, beta=boundary)
        self.miner = miners.DistanceWeightedMiner(cutoff=0.5, nonzero_loss_cutoff=1.4)

    def forward(self, batch: Batch) -> Tensor:
        """A single number; 0 where the batch has no pair of one class."""
        return self.loss(batch.embeddings, batch.labels, self.miner(batch.embeddings, batch.labels))


class NPair(Penalty):
    """N-pair loss, Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss" (2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = losses.NPairsLoss()

    def forward(self, batch: Batch) -> Tensor:
        """A single number; 0 where the batch has no two classes with a pair each."""
        return self.loss(batch.embeddings, batch.labels)


class ProxyNCA(Penalty):
    """ProxyNCA, Movshovitz-Attias et al. (2017): a learned proxy for every class.

    Args:
        classes: how many there are.
        embedding_dim: length of an embedding.
        scale: factor of the squared distances of unit vectors.
    """

    def __init__(self, *, classes: int, embedding_dim: int, scale: float) -> None:
        super().__init__()
        self.loss = losses.ProxyNCALoss(
            num_classes=classes, embedding_size=embedding_dim, softmax_scale=scale
        )

    def forward(self, batch: Batch) -> Tensor:
        """A single number."""
        return self.loss(batch.embeddings, batch.labels)


class Contrastive(Penalty):
    """Contrastive loss, Hadsell et al. (2006).

    Args:
        margin: distance of unit embeddings up to which two classes repel each other.
    """

    def __init__(self, *, margin: float) -> None:
        super().__init__()
        self.loss = losses.ContrastiveLoss(pos_margin=0.0, neg_margin=margin)

    def forward(self, batch: Batch) -> Tensor:
        """A single number."""
        return self.loss(batch.embeddings, batch.labels)
