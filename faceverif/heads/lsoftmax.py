"""L-Softmax: a multiplied angle, with the lengths of class weights and embeddings as they come."""

from __future__ import annotations

from torch import Tensor

from faceverif.heads.multiplied_angle import MultipliedAngleHead, multiplied_angle_logits
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
        share: of psi against the plain cosine, in [0, 1]; see `multiplied_angle_logits`.

    Returns:
        (batch, classes).

    Raises:
        InputError: a margin or share out of range, or labels out of range.
    """
    return multiplied_angle_logits(embeddings, weight, labels, margin=margin, share=share, unit_weight=False)[
        0
    ]


class LSoftmaxHead(MultipliedAngleHead):
    """L-Softmax; see `lsoftmax_logits`."""

    unit_weight = False

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """w_j . x, (batch, classes)."""
        return linear_products(embeddings, self.weight)
