"""Plain softmax: a linear classifier on raw embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceverif.heads.base import Head, HeadOutput


def softmax_logits(embeddings: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """W x + b.

    Args:
        embeddings: (batch, dim), raw.
        weight: (classes, dim).
        bias: (classes,).

    Returns:
        (batch, classes).
    """
    return F.linear(embeddings, weight, bias)


class SoftmaxHead(Head):
    """A linear layer; see `softmax_logits`."""

    def __init__(self, *, classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, embedding_dim) * 0.01)
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """There is no margin: both logits are the same."""
        logits = self.logits(embeddings)
        return HeadOutput(logits, logits)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Products with the class weights, (batch, classes), in float32 even under autocast."""
        with torch.autocast(embeddings.device.type, enabled=False):
            return softmax_logits(embeddings.float(), self.weight.float(), self.bias.float())
