"""ArcFace: an additive margin on the angle."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.checked_tensors import require_not_negative
from faceverif.heads.angular import AngularHead

LARGEST_MARGIN_RAD = math.pi / 2
# Below this the sine stands still: float32 cannot tell it from rounding, and its derivative -cos / sin,
# infinite at theta = 0 and pi, stays below 1e3.
_SMALLEST_SINE = 1e-3


def turned_cosine(cosine: Tensor, *, margin_rad: float | Tensor) -> Tensor:
    """cos(theta + m), with its true gradient.

    Deng et al., "ArcFace" (2019), Eq. 3. Some ports add the margin outside autograd, which leaves the loss as
    it is but drops the factor sin(theta + m) / sin(theta). Beyond theta + m > pi the cosine would rise again;
    there it is cos(theta) - m sin(m), as in the authors' first code, so that a sample never gains by turning
    away; that holds for m up to pi / 2, which is why no larger one is taken.

    Args:
        cosine: cos(theta), any shape.
        margin_rad: m in [0, pi / 2], in radians; one for all, or of the cosine's shape.
    """
    if isinstance(margin_rad, Tensor):
        along, across = margin_rad.cos(), margin_rad.sin()
    else:
        along, across = math.cos(margin_rad), math.sin(margin_rad)  # type: ignore[assignment]
    turned = cosine * along - sine_of(cosine) * across
    return torch.where(cosine > -along, turned, cosine - margin_rad * across)


def sine_of(cosine: Tensor) -> Tensor:
    """sin(theta) of cos(theta), theta in [0, pi], any shape; see `turned_cosine` for its gradient."""
    return (1.0 - cosine.square()).clamp_min(_SMALLEST_SINE**2).sqrt()


def require_margin_rad(margin_rad: float, *, name: str = "margin_rad") -> None:
    """Stop on a margin at which `turned_cosine` breaks its promise.

    Raises:
        InputError: it does not lie in [0, pi / 2].
    """
    require_not_negative(name, margin_rad)
    if margin_rad > LARGEST_MARGIN_RAD:
        raise InputError(name, "must be at most pi / 2", got=margin_rad, fix="ArcFace's is 0.5.")


class ArcFaceHead(AngularHead):
    """s cos(theta_y + m) at the true class, s cos(theta_j) elsewhere.

    Deng et al., "ArcFace" (2019), Eq. 3; see `turned_cosine` for what happens beyond pi.

    Args:
        classes: how many identities.
        embedding_dim: length of an embedding.
        scale: s.
        margin_rad: m in [0, pi / 2], in radians; it may grow in training.

    Raises:
        InputError: a scale or a margin out of range.
    """

    def __init__(self, *, classes: int, embedding_dim: int, scale: float, margin_rad: float) -> None:
        require_margin_rad(margin_rad)
        super().__init__(classes=classes, embedding_dim=embedding_dim, scale=scale, margin=margin_rad)

    def lower_own(self, cosine: Tensor, norms: Tensor) -> Tensor:
        """cos(theta_y + m)."""
        return turned_cosine(cosine, margin_rad=self.margin_now)
