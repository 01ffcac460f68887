"""What the angular heads share: cosines with class centres, and a margin at the true class."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceverif.heads.base import Head, HeadOutput


def cosines(embeddings: Tensor, weight: Tensor) -> Tensor:
    """cos(theta_j) of every embedding with every class centre.

    Args:
        embeddings: (batch, dim), any norm.
        weight: (classes, dim), any norm.

    Returns:
        (batch, classes); rounding may leave [-1, 1] by an ulp.
    """
    return F.normalize(embeddings) @ F.normalize(weight).T


def replace_true_class(logits: Tensor, labels: Tensor, true_logits: Tensor) -> Tensor:
    """A copy of the logits with another value at each sample's own class.

    Args:
        logits: (batch, classes).
        labels: (batch,), int64 in [0, classes).
        true_logits: (batch,).
    """
    return logits.scatter(1, labels[:, None], true_logits[:, None])


def true_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Each sample's logit of its own class, (batch,)."""
    return logits.gather(1, labels[:, None]).squeeze(1)


class AngularHead(Head):
    """Class centres compared by angle, with a margin that may grow in training.

    Args:
        classes: how many identities.
        embedding_dim: length of an embedding.
        scale: s, what the cosines are multiplied with.
        margin: the whole margin, in the unit of the head.
    """

    def __init__(self, *, classes: int, embedding_dim: int, scale: float, margin: float) -> None:
        super().__init__()
        self.scale = scale
        self.margin = margin
        self.margin_now = margin
        # Unit length on average: the gradient of a direction goes with 1 / length.
        self.weight = nn.Parameter(torch.randn(classes, embedding_dim) * embedding_dim**-0.5)

    @abstractmethod
    def add_margin(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """Scaled cosines with the margin now in force at the true class, (batch, classes)."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Scaled cosines without and with the margin."""
        cosine = self._cosines(embeddings)
        return HeadOutput(self.scale * cosine, self.add_margin(cosine, labels))

    def logits(self, embeddings: Tensor) -> Tensor:
        """Scaled cosines, (batch, classes)."""
        return self.scale * self._cosines(embeddings)

    def set_margin_progress(self, progress: float) -> None:
        """Put that share of the margin in force."""
        self.margin_now = progress * self.margin

    def _cosines(self, embeddings: Tensor) -> Tensor:
        # bfloat16 has three digits: at scale 64 that is an error of 0.25 in a logit. Autocast ends here, and
        # what follows stays in float32 because no matrix product comes after.
        with torch.autocast(embeddings.device.type, enabled=False):
            return cosines(embeddings.float(), self.weight.float())
