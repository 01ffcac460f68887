"""CosFace: an additive margin on the cosine."""

from __future__ import annotations

from torch import Tensor

from faceverif.checked_tensors import refuse_bad_labels, require_not_negative
from faceverif.heads.angular import AngularHead, angular_logits


def cosface_logits(
    embeddings: Tensor, weight: Tensor, labels: Tensor, *, scale: float, margin: float
) -> Tensor:
    """s * (cos(theta_y) - m) at the true class, s * cos(theta_j) elsewhere.

    Wang et al., "CosFace" (2018), Eq. 4; AM-Softmax, Wang et al. (2018), Eq. 6.

    Args:
        embeddings: (batch, dim), any norm.
        weight: (classes, dim), any norm.
        labels: (batch,), int64 in [0, classes).
        scale: s > 0.
        margin: m >= 0, in cosine.

    Returns:
        (batch, classes).

    Raises:
        InputError: a negative margin, or labels out of range.
    """
    require_not_negative("margin", margin)
    refuse_bad_labels(labels, batch=len(embeddings), classes=len(weight))
    return angular_logits(embeddings, weight, labels, lambda cosine, norms: cosine - margin, scale=scale)[0]


class CosFaceHead(AngularHead):
    """Angular head with the margin of `cosface_logits`."""

    def lower_own(self, cosine: Tensor, norms: Tensor) -> Tensor:
        """The margin is subtracted from the cosine."""
        return cosine - self.margin_now
