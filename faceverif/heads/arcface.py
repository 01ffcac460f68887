"""ArcFace: an additive margin on the angle."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from faceverif.heads.angular import AngularHead, replace_true_class, true_class
from faceverif.heads.base import refuse_bad_labels, require_not_negative

# Below this the sine stands still: float32 cannot tell it from rounding, and its derivative -cos / sin,
# infinite at theta = 0 and pi, stays below 1e3.
_SMALLEST_SINE = 1e-3


def arcface_logits(cosine: Tensor, labels: Tensor, *, scale: float, margin_rad: float) -> Tensor:
    """s * cos(theta_y + m) at the true class, s * cos(theta_j) elsewhere.

    Deng et al., "ArcFace" (2019), Eq. 3, with its true gradient: some ports add the margin outside autograd,
    which leaves the loss as it is but drops the factor sin(theta + m) / sin(theta). Beyond theta + m > pi the
    cosine would rise again; there the logit is cos(theta) - m sin(m), as in the authors' first code, so that
    a sample never gains by turning away.

    Args:
        cosine: (batch, classes), from `cosines`.
        labels: (batch,), int64 in [0, classes).
        scale: s > 0.
        margin_rad: m in [0, pi), in radians.

    Returns:
        (batch, classes).

    Raises:
        InputError: a negative margin, or labels out of range.
    """
    require_not_negative("margin_rad", margin_rad)
    refuse_bad_labels(labels, batch=len(cosine), classes=cosine.shape[1])
    true_cosine = true_class(cosine, labels)
    sine = (1.0 - true_cosine.square()).clamp_min(_SMALLEST_SINE**2).sqrt()
    turned = true_cosine * math.cos(margin_rad) - sine * math.sin(margin_rad)
    beyond = true_cosine - margin_rad * math.sin(margin_rad)
    with_margin = torch.where(true_cosine > -math.cos(margin_rad), turned, beyond)
    return scale * replace_true_class(cosine, labels, with_margin)


class ArcFaceHead(AngularHead):
    """Angular head with the margin of `arcface_logits`."""

    def __init__(self, *, classes: int, embedding_dim: int, scale: float, margin_rad: float) -> None:
        super().__init__(classes=classes, embedding_dim=embedding_dim, scale=scale, margin=margin_rad)

    def add_margin(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """The margin is added to the true class's angle."""
        return arcface_logits(cosine, labels, scale=self.scale, margin_rad=self.margin_now)
