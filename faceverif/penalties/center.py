"""Center loss: embeddings pulled to a running mean of their class."""

from __future__ import annotations

import torch
from torch import Tensor

from faceverif.penalties.base import EmbeddedBatch, Penalty
from faceverif.sharding.collectives import sum_over_processes


def center_penalty(embeddings: Tensor, centers: Tensor, labels: Tensor) -> Tensor:
    """1/2 |x - c_y|^2.

    Wen et al., "A Discriminative Feature Learning Approach" (2016), Eq. 2, per sample.

    Args:
        embeddings: (batch, dim).
        centers: (classes, dim); no gradient reaches them.
        labels: (batch,), int64 in [0, classes).

    Returns:
        (batch,).
    """
    return 0.5 * (embeddings - centers[labels].detach()).square().sum(dim=1)


def moved_centers(centers: Tensor, embeddings: Tensor, labels: Tensor, *, step: float) -> Tensor:
    """c_j - step * sum_{y = j} (c_j - x) / (1 + n_j).

    Wen et al. (2016), Eq. 4 and Algorithm 1. The 1 keeps a class with one sample from jumping onto it.

    Args:
        centers: (classes, dim).
        embeddings: (batch, dim).
        labels: (batch,), int64 in [0, classes).
        step: alpha of the paper, in [0, 1].

    Returns:
        (classes, dim).
    """
    counts = centers.new_zeros(len(centers)).index_add_(0, labels, centers.new_ones(len(labels)))
    away = torch.zeros_like(centers).index_add_(0, labels, centers[labels] - embeddings.detach())
    counts, away = sum_over_processes(counts), sum_over_processes(away)
    return centers - step * away / (1.0 + counts[:, None])


class Center(Penalty):
    """See `center_penalty`; its centers are its own, and follow the embeddings by Eq. 4 of the paper.

    Args:
        classes: how many there are.
        embedding_dim: length of an embedding.
        step: how fast the centers follow, in (0, 1].
    """

    sees_classes = False
    centers: Tensor

    def __init__(self, *, classes: int, embedding_dim: int, step: float) -> None:
        super().__init__()
        self.step = step
        self.register_buffer("centers", torch.zeros(classes, embedding_dim))

    def forward(self, batch: EmbeddedBatch) -> Tensor:
        """(batch,); moves the centers while in training mode."""
        penalty = center_penalty(batch.embeddings, self.centers, batch.labels)
        if self.training:
            # A new tensor: the old one may be part of a graph still to be differentiated.
            self.centers = moved_centers(self.centers, batch.embeddings, batch.labels, step=self.step)
        return penalty
