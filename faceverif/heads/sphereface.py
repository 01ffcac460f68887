"""SphereFace (A-Softmax): a multiplied angle, unit class weights, raw embeddings."""

from __future__ import annotations

from torch import Tensor

from faceverif.heads.multiplied_angle import MultipliedAngleHead
from faceverif.heads.products import unit_weight_products


class SphereFaceHead(MultipliedAngleHead):
    """|x| psi(theta_y) at the true class, |x| cos(theta_j) elsewhere.

    Liu et al., "SphereFace" (2017), Eq. 7; `MultipliedAngleHead` mixes psi with the plain cosine.
    """

    unit_weight = True

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """|x| cos(theta_j), (batch, classes)."""
        return unit_weight_products(embeddings, self.weight)
