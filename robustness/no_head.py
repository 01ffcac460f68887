"""Stands where the head would be: an imported model knows nobody, and compares pairs of photos only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from faceverif.heads import Head, HeadOutput
from faceverif.objective import Objective


class NoHead(Head):
    """No classes, so logits of shape (batch, 0).

    Args:
        embedding_dim: length of an embedding.
    """

    def __init__(self, *, embedding_dim: int) -> None:
        super().__init__(classes=0, embedding_dim=embedding_dim)

    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Never asked: there is no valid label."""
        logits = self.compare_plainly(embeddings)
        return HeadOutput(logits, lambda: logits)

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """(batch, 0)."""
        return embeddings.new_zeros(len(embeddings), 0)

    def centres(self) -> Tensor:
        """(0, dim)."""
        return torch.zeros(0, self.embedding_dim)


class NoObjective(Objective):
    """Nothing was trained.

    Args:
        embedding_dim: length of an embedding.
    """

    def __init__(self, *, embedding_dim: int) -> None:
        nn.Module.__init__(self)
        self.head = NoHead(embedding_dim=embedding_dim)
        self.penalties = nn.ModuleList()
