"""L-Softmax: a multiplied angle, with the lengths of class weights and embeddings as they come."""

from __future__ import annotations

import torch
from torch import Tensor

from faceverif.heads.base import HeadOutput
from faceverif.heads.multiplied_angle import MultipliedAngleHead, multiply_true_angle
from faceverif.heads.products import linear_products


def lsoftmax_logits(
    embeddings: Tensor, weight: Tensor, labels: Tensor, *, margin: int, share: float = 1.0
) -> Tensor:
    """|w_y| |x| psi(theta_y) at the true class, w_j . x elsewhere.

    Liu et al., "Large-Margin Softmax Loss" (2016), Eqs. 4-6.

    Args:
        embeddings: (batch, dim), raw.
        weight: (classes, dim).
        labels: (batch,), int64 in [0, classes).
        margin: m, 1 to 4.
        share: of psi against the plain cosine, in [0, 1]; see `multiply_true_angle`.

    Returns:
        (batch, classes).

    Raises:
        InputError: a margin or share out of range, or labels out of range.
    """
    products = linear_products(embeddings, weight)
    lengths = torch.linalg.vector_norm(embeddings, dim=1)
    own = torch.linalg.vector_norm(weight[labels], dim=1)
    return multiply_true_angle(products, lengths * own, labels, margin=margin, share=share)


class LSoftmaxHead(MultipliedAngleHead):
    """L-Softmax; see `lsoftmax_logits`."""

    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Plain products, the true angle multiplied in the margin logits."""
        logits = lsoftmax_logits(embeddings, self.weight, labels, margin=self.margin, share=self.share_now)
        return HeadOutput(logits, lambda: self.compare_plainly(embeddings))

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """w_j . x, (batch, classes)."""
        return linear_products(embeddings, self.weight)
