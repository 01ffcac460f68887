"""Softmax over scaled cosines, without a margin."""

from __future__ import annotations

from torch import Tensor

from faceverif.heads.angular import AngularHead


class NormalisedSoftmaxHead(AngularHead):
    """s cos(theta_j): NormFace, Wang et al. (2017), Eq. 6.

    Args:
        classes: how many identities.
        embedding_dim: length of an embedding.
        scale: s.
    """

    def __init__(self, *, classes: int, embedding_dim: int, scale: float) -> None:
        super().__init__(classes=classes, embedding_dim=embedding_dim, scale=scale, margin=0.0)

    def lower_own(self, cosine: Tensor, norms: Tensor) -> Tensor:
        """There is no margin."""
        return cosine
