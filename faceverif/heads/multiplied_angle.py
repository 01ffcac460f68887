"""What L-Softmax and A-Softmax share: a true class whose angle is multiplied."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.checked_tensors import require_not_negative
from faceverif.heads.angular import replace_true_class, unit_length_on_average
from faceverif.heads.base import Head, HeadOutput
from faceverif.heads.products import products_with_margin

# cos(m theta) as a polynomial of cos(theta), by powers (Chebyshev, first kind): exact values and gradients
# at theta = 0 and pi, where those of an arc cosine are infinite.
_COSINE_OF_MULTIPLE = {
    1: (0.0, 1.0),
    2: (-1.0, 0.0, 2.0),
    3: (0.0, -3.0, 0.0, 4.0),
    4: (1.0, 0.0, -8.0, 0.0, 8.0),
}


def multiplied_angle(cosine: Tensor, *, margin: int) -> Tensor:
    """psi(theta) = (-1)^k cos(m theta) - 2 k for theta in [k pi / m, (k + 1) pi / m].

    Liu et al., "Large-Margin Softmax Loss" (2016), Eq. 6; "SphereFace" (2017), Eq. 7.

    Args:
        cosine: cos(theta), any shape.
        margin: m, 1 to 4; 1 leaves the cosine.

    Returns:
        Same shape, in [1 - 2 m, 1], falling with theta.

    Raises:
        InputError: a margin without its polynomial.
    """
    _require_polynomial(margin)
    k = sum((cosine <= math.cos(turn * math.pi / margin)).to(cosine.dtype) for turn in range(1, margin))
    k = torch.as_tensor(k, dtype=cosine.dtype, device=cosine.device)
    multiple = torch.zeros_like(cosine)
    for coefficient in reversed(_COSINE_OF_MULTIPLE[margin]):
        multiple = multiple * cosine + coefficient
    return (1.0 - 2.0 * (k % 2)) * multiple - 2.0 * k


def _require_polynomial(margin: int) -> None:
    if margin not in _COSINE_OF_MULTIPLE:
        raise InputError("margin", "must be 1, 2, 3 or 4", got=margin, fix="The papers' largest is 4.")


class MultipliedAngleHead(Head):
    """|w_y| |x| ((1 - share) cos(theta_y) + share psi(theta_y)) at the true class, w_j . x elsewhere.

    The authors of both papers train on (lambda cos + psi) / (1 + lambda) with lambda falling from 1,000 to a
    few, without which it does not converge; share = 1 / (1 + lambda).

    Args:
        classes: how many there are.
        embedding_dim: length of an embedding.
        margin: m, 1 to 4.
        smallest_lambda: weight of the plain cosine against psi once the margin has grown.

    Raises:
        InputError: a margin without its polynomial, or a negative lambda.

    Attributes:
        unit_weight: whether the class weights are taken as unit vectors.
    """

    unit_weight: ClassVar[bool]
    by_class = frozenset({"weight"})

    def __init__(self, *, classes: int, embedding_dim: int, margin: int, smallest_lambda: float) -> None:
        super().__init__(classes=classes, embedding_dim=embedding_dim)
        _require_polynomial(margin)
        require_not_negative("smallest_lambda", smallest_lambda)
        self.margin = margin
        self.share = self.share_now = 1.0 / (1.0 + smallest_lambda)
        self.weight = unit_length_on_average(classes, embedding_dim)

    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Products, the own class's angle multiplied in the margin logits."""
        logits, own = products_with_margin(
            embeddings, self.weight, labels, self.bent, unit_weight=self.unit_weight
        )
        return HeadOutput(logits, lambda: replace_true_class(logits, labels, own))

    def bent(self, own: Tensor, norms: Tensor, weight_norms: Tensor) -> Tensor:
        """(batch,) products with the own class, of which the cosine is partly replaced by psi.

        Args:
            own: (batch,) products.
            norms: (batch,), |x|.
            weight_norms: (batch,), |w_y|, or ones.
        """
        lengths = norms * weight_norms
        cosine = (own / lengths.clamp_min(1e-12)).clamp(-1.0, 1.0)
        return lengths * torch.lerp(cosine, multiplied_angle(cosine, margin=self.margin), self.share_now)

    def centres(self) -> Tensor:
        """The class weights."""
        return self.weight

    def set_margin_progress(self, progress: float) -> None:
        """Put that share of psi's final share in force."""
        self.share_now = progress * self.share
