"""CosFace: an additive margin on the cosine."""

from __future__ import annotations

from torch import Tensor

from faceverif.heads.angular import AngularHead


class CosFaceHead(AngularHead):
    """s (cos(theta_y) - m) at the true class, s cos(theta_j) elsewhere.

    Wang et al., "CosFace" (2018), Eq. 4; AM-Softmax, Wang et al. (2018), Eq. 6.

    Args:
        classes: how many identities.
        embedding_dim: length of an embedding.
        scale: s.
        margin: m, in cosine; it may grow in training.
    """

    def lower_own(self, cosine: Tensor, norms: Tensor) -> Tensor:
        """cos(theta_y) - m."""
        return cosine - self.margin_now
