"""L-Softmax: a multiplied angle, with the lengths of class weights and embeddings as they come."""

from __future__ import annotations

from torch import Tensor

from faceverif.heads.multiplied_angle import MultipliedAngleHead
from faceverif.heads.products import linear_products


class LSoftmaxHead(MultipliedAngleHead):
    """|w_y| |x| psi(theta_y) at the true class, w_j . x elsewhere.

    Liu et al., "Large-Margin Softmax Loss" (2016), Eqs. 4-6; `MultipliedAngleHead` mixes psi with the cosine.
    """

    unit_weight = False

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """w_j . x, (batch, classes)."""
        return linear_products(embeddings, self.weight)
