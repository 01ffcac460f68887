"""Softmax over scaled cosines, without a margin."""

from __future__ import annotations

from torch import Tensor

from faceverif.heads.angular import AngularHead, scaled_cosines


def normalised_softmax_logits(embeddings: Tensor, weight: Tensor, *, scale: float) -> Tensor:
    """s * cos(theta_j): NormFace, Wang et al. (2017), Eq. 6.

    Args:
        embeddings: (batch, dim), any norm.
        weight: (classes, dim), any norm.
        scale: s > 0.

    Returns:
        (batch, classes).
    """
    return scaled_cosines(embeddings, weight, scale=scale)


class NormalisedSoftmaxHead(AngularHead):
    """Class centres compared by angle alone; see `normalised_softmax_logits`."""

    def __init__(self, *, classes: int, embedding_dim: int, scale: float) -> None:
        super().__init__(classes=classes, embedding_dim=embedding_dim, scale=scale, margin=0.0)

    def lower_own(self, cosine: Tensor, norms: Tensor) -> Tensor:
        """There is no margin."""
        return cosine
