"""What L-Softmax and A-Softmax share: a true class whose angle is multiplied."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.heads.angular import replace_true_class, true_class, unit_length_on_average
from faceverif.heads.base import Head, refuse_bad_labels, require_not_negative

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
    if margin not in _COSINE_OF_MULTIPLE:
        raise InputError("margin", "must be 1, 2, 3 or 4", got=margin, fix="The papers' largest is 4.")
    k = sum((cosine <= math.cos(turn * math.pi / margin)).to(cosine.dtype) for turn in range(1, margin))
    k = torch.as_tensor(k, dtype=cosine.dtype, device=cosine.device)
    multiple = torch.zeros_like(cosine)
    for coefficient in reversed(_COSINE_OF_MULTIPLE[margin]):
        multiple = multiple * cosine + coefficient
    return (1.0 - 2.0 * (k % 2)) * multiple - 2.0 * k


def multiply_true_angle(
    products: Tensor, lengths: Tensor, labels: Tensor, *, margin: int, share: float
) -> Tensor:
    """Products whose cosine at the true class is partly replaced by psi.

    The authors of both papers train on (lambda cos + psi) / (1 + lambda) with lambda falling from 1,000 to a
    few, without which it does not converge; share = 1 / (1 + lambda).

    Args:
        products: (batch, classes), length times cosine.
        lengths: (batch,), of the true class's product.
        labels: (batch,), int64 in [0, classes).
        margin: m, 1 to 4.
        share: of psi, in [0, 1].

    Raises:
        InputError: a margin or share out of range, or labels out of range.
    """
    require_not_negative("share", share)
    refuse_bad_labels(labels, batch=len(products), classes=products.shape[1])
    cosine = (true_class(products, labels) / lengths.clamp_min(1e-12)).clamp(-1.0, 1.0)
    bent = torch.lerp(cosine, multiplied_angle(cosine, margin=margin), share)
    return replace_true_class(products, labels, lengths * bent)


class MultipliedAngleHead(Head):
    """Class weights and how much of the multiplied angle is in force.

    Args:
        classes: how many there are.
        embedding_dim: length of an embedding.
        margin: m, 1 to 4.
        smallest_lambda: weight of the plain cosine against psi once the margin has grown.
    """

    def __init__(self, *, classes: int, embedding_dim: int, margin: int, smallest_lambda: float) -> None:
        super().__init__(classes=classes, embedding_dim=embedding_dim)
        self.margin = margin
        self.share = self.share_now = 1.0 / (1.0 + smallest_lambda)
        self.weight = unit_length_on_average(classes, embedding_dim)

    def centres(self) -> Tensor:
        """The class weights."""
        return self.weight

    def set_margin_progress(self, progress: float) -> None:
        """Put that share of psi's final share in force."""
        self.share_now = progress * self.share
