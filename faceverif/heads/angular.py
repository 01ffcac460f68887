"""What the angular heads share: cosines with class centres, and a margin at the true class."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from faceverif.checked_tensors import require_not_negative, require_positive
from faceverif.heads.base import Head, HeadOutput
from faceverif.heads.products import products_with_margin, unit_weight_products
from faceverif.sharding.own_class import OwnClass

_SHORTEST = 1e-6


def cosines(embeddings: Tensor, weight: Tensor) -> Tensor:
    """cos(theta_j) of every embedding with every class centre.

    Args:
        embeddings: (batch, dim), any norm.
        weight: (classes, dim), any norm.

    Returns:
        (batch, classes); rounding may leave [-1, 1] by an ulp.
    """
    return unit_weight_products(directions(embeddings), weight)


def directions(embeddings: Tensor, *, length: float = 1.0) -> Tensor:
    """Embeddings at that length; one shorter than 1e-6 has no direction, so zeros, and no gradient.

    As after a ReLU that lets nothing through: the gradient, which goes with 1 / |x|, would throw the network
    out of its place in a single step.

    Args:
        embeddings: (batch, dim).
        length: of what is returned.
    """
    lengths = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
    return embeddings * torch.where(lengths < _SHORTEST, 0.0, length / lengths.clamp_min(_SHORTEST))


def replace_true_class(logits: Tensor, labels: Tensor, true_logits: Tensor) -> Tensor:
    """The logits with another value at each sample's own class.

    Args:
        logits: (batch, classes); left as they are.
        labels: (batch,), int64; one outside [0, classes) names a class that is not among these.
        true_logits: (batch,).
    """
    return OwnClass.among(labels, logits.shape[1]).replaced(logits, true_logits)


class AngularHead(Head):
    """s cos(theta_j) of every class, with a margin at the true class that may grow in training.

    A subclass whose margin depends on nothing but the sample defines `lower_own` and no more.

    Args:
        classes: how many identities.
        embedding_dim: length of an embedding.
        scale: s, what the cosines are multiplied with.
        margin: the whole margin, in the unit of the head.

    Raises:
        InputError: a scale of zero or less, or a negative margin.
    """

    by_class = frozenset({"weight"})

    def __init__(self, *, classes: int, embedding_dim: int, scale: float, margin: float) -> None:
        super().__init__(classes=classes, embedding_dim=embedding_dim)
        require_positive("scale", scale)
        require_not_negative("margin", margin)
        self.scale = scale
        self.margin = margin
        self.margin_now = margin
        self.weight = unit_length_on_average(classes, embedding_dim)

    @abstractmethod
    def lower_own(self, cosine: Tensor, norms: Tensor) -> Tensor:
        """What the margin now in force, `margin_now`, makes of cos(theta_y).

        Args:
            cosine: cos(theta_y), (batch,), of each embedding with its own class.
            norms: (batch,), of the raw embeddings.

        Returns:
            (batch,). Gradients flow through both; a margin that must not change the norms detaches them.
        """

    def with_margin(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled cosines, of which the margin lowers the one with the own class.

        Args:
            embeddings: (batch, dim), any norm.
            labels: (batch,); one outside [0, classes) names a class that is not among these.

        Returns:
            (batch, classes) logits; (batch,) scaled cosines with the own class, without a gradient.
        """
        return products_with_margin(
            self._scaled(embeddings),
            self.weight,
            labels,
            lambda own, norms, weight_norms: self.scale * self.lower_own(own / self.scale, norms),
            unit_weight=True,
            norms=torch.linalg.vector_norm(embeddings, dim=1),
        )

    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Scaled cosines without and with the margin."""
        logits, own = self.with_margin(embeddings, labels)
        return HeadOutput(logits, lambda: replace_true_class(logits, labels, own))

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """Scaled cosines, (batch, classes)."""
        return unit_weight_products(self._scaled(embeddings), self.weight)

    def _scaled(self, embeddings: Tensor) -> Tensor:
        """The scale is put on the embeddings: there it costs nothing."""
        return directions(embeddings, length=self.scale)

    def centres(self) -> Tensor:
        """The class weights; only their direction counts."""
        return self.weight

    def set_margin_progress(self, progress: float) -> None:
        """Put that share of the margin in force."""
        self.margin_now = progress * self.margin


def unit_length_on_average(classes: int, embedding_dim: int) -> nn.Parameter:
    """Random class weights where only the direction counts: its gradient goes with 1 / length."""
    return nn.Parameter(torch.randn(classes, embedding_dim) * embedding_dim**-0.5)
