"""ArcFace: an additive margin on the angle."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from faceverif.heads.angular import AngularHead, angular_logits
from faceverif.heads.base import require_not_negative

# Below this the sine stands still: float32 cannot tell it from rounding, and its derivative -cos / sin,
# infinite at theta = 0 and pi, stays below 1e3.
_SMALLEST_SINE = 1e-3


def turned_cosine(cosine: Tensor, *, margin_rad: float) -> Tensor:
    """cos(theta + m), with its true gradient.

    Deng et al., "ArcFace" (2019), Eq. 3. Some ports add the margin outside autograd, which leaves the loss as
    it is but drops the factor sin(theta + m) / sin(theta). Beyond theta + m > pi the cosine would rise again;
    there it is cos(theta) - m sin(m), as in the authors' first code, so that a sample never gains by turning
    away.

    Args:
        cosine: cos(theta), any shape.
        margin_rad: m in [0, pi), in radians.
    """
    sine = (1.0 - cosine.square()).clamp_min(_SMALLEST_SINE**2).sqrt()
    turned = cosine * math.cos(margin_rad) - sine * math.sin(margin_rad)
    beyond = cosine - margin_rad * math.sin(margin_rad)
    return torch.where(cosine > -math.cos(margin_rad), turned, beyond)


def arcface_logits(
    embeddings: Tensor, weight: Tensor, labels: Tensor, *, scale: float, margin_rad: float
) -> Tensor:
    """s * cos(theta_y + m) at the true class, s * cos(theta_j) elsewhere.

    Deng et al., "ArcFace" (2019), Eq. 3; see `turned_cosine` for what happens beyond pi.

    Args:
        embeddings: (batch, dim), any norm.
        weight: (classes, dim), any norm.
        labels: (batch,), int64 in [0, classes).
        scale: s > 0.
        margin_rad: m in [0, pi), in radians.

    Returns:
        (batch, classes).

    Raises:
        InputError: a negative margin, or labels out of range.
    """
    require_not_negative("margin_rad", margin_rad)

    def lower(cosine: Tensor) -> Tensor:
        return turned_cosine(cosine, margin_rad=margin_rad)

    return angular_logits(embeddings, weight, labels, lower, scale=scale)[0]


class ArcFaceHead(AngularHead):
    """Angular head with the margin of `arcface_logits`."""

    def __init__(self, *, classes: int, embedding_dim: int, scale: float, margin_rad: float) -> None:
        super().__init__(classes=classes, embedding_dim=embedding_dim, scale=scale, margin=margin_rad)

    def lower_own(self, cosine: Tensor) -> Tensor:
        """The margin is added to the angle."""
        return turned_cosine(cosine, margin_rad=self.margin_now)
