"""What the angular heads share: cosines with class centres, and a margin at the true class."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceverif.heads.base import Head, HeadOutput
from faceverif.heads.products import unit_weight_products


def cosines(embeddings: Tensor, weight: Tensor) -> Tensor:
    """cos(theta_j) of every embedding with every class centre.

    Args:
        embeddings: (batch, dim), any norm.
        weight: (classes, dim), any norm.

    Returns:
        (batch, classes); rounding may leave [-1, 1] by an ulp.
    """
    return unit_weight_products(F.normalize(embeddings), weight)


def replace_true_class(logits: Tensor, labels: Tensor, true_logits: Tensor) -> Tensor:
    """The logits with another value at each sample's own class.

    Args:
        logits: (batch, classes); left as they are.
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
        super().__init__(classes=classes, embedding_dim=embedding_dim)
        self.scale = scale
        self.margin = margin
        self.margin_now = margin
        self.weight = unit_length_on_average(classes, embedding_dim)

    @abstractmethod
    def add_margin(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """Scaled cosines with the margin now in force at the true class, (batch, classes)."""

    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Scaled cosines without and with the margin."""
        cosine = cosines(embeddings, self.weight)
        return HeadOutput(self.add_margin(cosine, labels), lambda: self.scale * cosine)

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """Scaled cosines, (batch, classes)."""
        return self.scale * cosines(embeddings, self.weight)

    def centres(self) -> Tensor:
        """The class weights; only their direction counts."""
        return self.weight

    def set_margin_progress(self, progress: float) -> None:
        """Put that share of the margin in force."""
        self.margin_now = progress * self.margin


def unit_length_on_average(classes: int, embedding_dim: int) -> nn.Parameter:
    """Random class weights where only the direction counts: its gradient goes with 1 / length."""
    return nn.Parameter(torch.randn(classes, embedding_dim) * embedding_dim**-0.5)
