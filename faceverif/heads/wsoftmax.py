"""W-Softmax: negative class weights pulled towards the true one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.checked_tensors import refuse_bad_labels, require_not_negative
from faceverif.heads.angular import unit_length_on_average
from faceverif.heads.base import Head, HeadOutput
from faceverif.heads.biased_products import biased_weight_products
from faceverif.heads.products import unit_weight_products
from faceverif.sharding.own_class import OwnClass


def wsoftmax_logits(embeddings: Tensor, weight: Tensor, labels: Tensor, *, alpha: float) -> Tensor:
    """Logits of the weights-biased softmax, Eq. 12 of Li & Wang (2020).

    For a sample of class c every other class j is compared through (alpha w_c + w_j) / |alpha w_c + w_j|
    instead of w_j, which moves the decision boundary towards w_c. Written out, that needs the products
    x . w_j and w_c . w_j and no per-sample weights. alpha = 0 is the weight-normalised softmax. Where
    |alpha w_c + w_j|^2 falls below 1e-6 (opposite weights at alpha = 1) it is held there.

    The pull is meant to raise the other classes, and lowers them where products are negative. An embedding
    with the product -a with every weight has logits that are (alpha + 1) / |alpha w_c + w_j| times lower than
    that of the true class: a loss near 0 for every label, once a is large. Trainings run into this second
    minimum. The batch normalisation of the paper's networks rules it out where it has no offset (see
    `faceverif.backbones.last_layers`): the products of a batch with a weight then add up to zero.

    Args:
        embeddings: (batch, dim), not normalised.
        weight: (classes, dim), any norm; taken as unit vectors.
        labels: (batch,), int64 in [0, classes).
        alpha: pull towards the true class, >= 0.

    Returns:
        (batch, classes); the column of the true class is the plain product.

    Raises:
        InputError: a negative alpha, or labels out of range.
    """
    require_not_negative("alpha", alpha)
    refuse_bad_labels(labels, batch=len(embeddings), classes=len(weight))
    return biased_weight_products(embeddings, weight, labels, alpha=alpha)[0]


def simplex_weights(classes: int) -> Tensor:
    """The optimal class weights in the fewest dimensions: unit vectors, every angle the same.

    Li & Wang (2020), Eq. 3; their dot products are -1 / (C - 1), Eq. 4. No fewer than C - 1 dimensions hold
    C such vectors, which is the paper's smallest useful number of fully connected units.

    Args:
        classes: C >= 2.

    Returns:
        (classes, classes - 1), float64.

    Raises:
        InputError: fewer than two classes.
    """
    if classes < 2:
        raise InputError("classes", "must be at least 2", got=classes, fix="One class has no angle.")
    columns = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    for count in range(3, classes + 1):
        shrunk = columns * math.sqrt(1.0 - 1.0 / (count - 1) ** 2)
        top = torch.cat([shrunk, torch.zeros(count - 2, 1, dtype=torch.float64)], dim=1)
        bottom = torch.full((1, count), -1.0 / (count - 1), dtype=torch.float64)
        bottom[0, -1] = 1.0
        columns = torch.cat([top, bottom])
    return columns.T.contiguous()


class WSoftmaxHead(Head):
    """The weights-biased softmax; see `wsoftmax_logits`.

    Args:
        classes: how many there are.
        embedding_dim: length of an embedding.
        alpha: the whole pull; it may grow in training.

    Raises:
        InputError: a negative alpha.
    """

    by_class = frozenset({"weight"})

    def __init__(self, *, classes: int, embedding_dim: int, alpha: float) -> None:
        super().__init__(classes=classes, embedding_dim=embedding_dim)
        require_not_negative("alpha", alpha)
        self.alpha = self.alpha_now = alpha
        self.weight = unit_length_on_average(classes, embedding_dim)

    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Products with the biased weights; the plain ones follow from them."""
        alpha = self.alpha_now
        pulled, inverse_lengths, own_products = biased_weight_products(
            embeddings, self.weight, labels, alpha=alpha, over_processes=self.over_processes
        )

        def plain() -> Tensor:
            at = OwnClass.among(labels, pulled.shape[1])
            return at.put(pulled / inverse_lengths - alpha * own_products[:, None], at.of(pulled))

        return HeadOutput(pulled, plain)

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """x . w_j with unit w, as the paper evaluates."""
        return unit_weight_products(embeddings, self.weight)

    def centres(self) -> Tensor:
        """The class weights; only their direction counts."""
        return self.weight

    def set_margin_progress(self, progress: float) -> None:
        """Put that share of alpha in force."""
        self.alpha_now = progress * self.alpha
