"""Plain softmax: a linear classifier on raw embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from faceverif.heads.base import Head, HeadOutput
from faceverif.heads.products import linear_products


class SoftmaxHead(Head):
    """W x + b, a linear layer.

    Args:
        classes: how many there are.
        embedding_dim: length of an embedding.
        probe: learn from the embeddings without shaping them: a classifier beside pair losses. In evaluation
            mode gradients reach the embeddings, which attacks need.
    """

    by_class = frozenset({"weight", "bias"})

    def __init__(self, *, classes: int, embedding_dim: int, probe: bool = False) -> None:
        super().__init__(classes=classes, embedding_dim=embedding_dim)
        self.probe = probe
        self.weight = nn.Parameter(torch.randn(classes, embedding_dim) * 0.01)
        self.bias = nn.Parameter(torch.zeros(classes))

    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """There is no margin: both logits are the same."""
        logits = self.compare_plainly(embeddings.detach() if self.probe and self.training else embeddings)
        return HeadOutput(logits, logits.detach)

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """W x + b, (batch, classes)."""
        return linear_products(embeddings, self.weight).add_(self.bias)

    def centres(self) -> Tensor:
        """The class weights."""
        return self.weight
