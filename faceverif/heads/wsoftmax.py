"""W-Softmax: negative class weights pulled towards the true one."""

from __future__ import annotations

from torch import Tensor

from faceverif.checked_tensors import require_not_negative
from faceverif.heads.angular import unit_length_on_average
from faceverif.heads.base import Head, HeadOutput
from faceverif.heads.biased_products import biased_weight_products
from faceverif.heads.products import unit_weight_products
from faceverif.sharding.own_class import OwnClass


class WSoftmaxHead(Head):
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
