"""SphereFace (A-Softmax): a multiplied angle, unit class weights, raw embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from faceverif.heads.base import HeadOutput
from faceverif.heads.multiplied_angle import MultipliedAngleHead, multiply_true_angle
from faceverif.heads.products import unit_weight_products


def sphereface_logits(
    embeddings: Tensor, weight: Tensor, labels: Tensor, *, margin: int, share: float = 1.0
) -> Tensor:
    """|x| psi(theta_y) at the true class, |x| cos(theta_j) elsewhere.

    Liu et al., "SphereFace" (2017), Eq. 7.

    Args:
        embeddings: (batch, dim), raw.
        weight: (classes, dim), any norm; taken as unit vectors.
        labels: (batch,), int64 in [0, classes).
        margin: m, 1 to 4.
        share: of psi against the plain cosine, in [0, 1]; see `multiply_true_angle`.

    Returns:
        (batch, classes).

    Raises:
        InputError: a margin or share out of range, or labels out of range.
    """
    lengths = torch.linalg.vector_norm(embeddings, dim=1)
    products = unit_weight_products(embeddings, weight)
    return multiply_true_angle(products, lengths, labels, margin=margin, share=share)


class SphereFaceHead(MultipliedAngleHead):
    """A-Softmax; see `sphereface_logits`."""

    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Products with unit class weights, the true angle multiplied in the margin logits."""
        logits = sphereface_logits(embeddings, self.weight, labels, margin=self.margin, share=self.share_now)
        return HeadOutput(logits, lambda: self.compare_plainly(embeddings))

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """|x| cos(theta_j), (batch, classes)."""
        return unit_weight_products(embeddings, self.weight)
