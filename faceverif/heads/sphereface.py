"""SphereFace (A-Softmax): a multiplied angle, unit class weights, raw embeddings."""

from __future__ import annotations

from torch import Tensor

from faceverif.heads.multiplied_angle import MultipliedAngleHead, multiplied_angle_logits
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
        share: of psi against the plain cosine, in [0, 1]; see `multiplied_angle_logits`.

    Returns:
        (batch, classes).

    Raises:
        InputError: a margin or share out of range, or labels out of range.
    """
    return multiplied_angle_logits(embeddings, weight, labels, margin=margin, share=share, unit_weight=True)[
        0
    ]


class SphereFaceHead(MultipliedAngleHead):
    """A-Softmax; see `sphereface_logits`."""

    unit_weight = True

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """|x| cos(theta_j), (batch, classes)."""
        return unit_weight_products(embeddings, self.weight)
