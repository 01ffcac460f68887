"""CosFace: an additive margin on the cosine."""

from __future__ import annotations

from torch import Tensor

from faceverif.heads.angular import AngularHead, replace_true_class, true_class
from faceverif.heads.base import refuse_bad_labels, require_not_negative


def cosface_logits(cosine: Tensor, labels: Tensor, *, scale: float, margin: float) -> Tensor:
    """s * (cos(theta_y) - m) at the true class, s * cos(theta_j) elsewhere.

    Wang et al., "CosFace" (2018), Eq. 4; AM-Softmax, Wang et al. (2018), Eq. 6.

    Args:
        cosine: (batch, classes), from `cosines`.
        labels: (batch,), int64 in [0, classes).
        scale: s > 0.
        margin: m >= 0, in cosine.

    Returns:
        (batch, classes).

    Raises:
        InputError: a negative margin, or labels out of range.
    """
    require_not_negative("margin", margin)
    refuse_bad_labels(labels, batch=len(cosine), classes=cosine.shape[1])
    return scale * replace_true_class(cosine, labels, true_class(cosine, labels) - margin)


class CosFaceHead(AngularHead):
    """Angular head with the margin of `cosface_logits`."""

    def add_margin(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """The margin is subtracted from the true class's cosine."""
        return cosface_logits(cosine, labels, scale=self.scale, margin=self.margin_now)
