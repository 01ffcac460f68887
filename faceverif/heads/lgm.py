"""L-GM: each class is a Gaussian in the space of embeddings, with a margin on the distance to its mean."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from data_prep.errors import InputError
from faceverif.checked_tensors import refuse_bad_labels, require_not_negative
from faceverif.heads.angular import replace_true_class
from faceverif.heads.base import Head, HeadOutput
from faceverif.heads.gaussian_densities import gaussian_log_densities, margin_log_densities

Covariance = Literal["identity", "isotropic", "diagonal"]

# A learned variance stays between e^-4 and e^4: a dimension in which a class collapses to a point would
# otherwise outweigh all others.
_LARGEST_LOG_VARIANCE = 4.0


def lgm_logits(
    embeddings: Tensor,
    means: Tensor,
    log_variances: Tensor,
    labels: Tensor | None,
    *,
    alpha: float,
) -> Tensor:
    """-d_k (1 + alpha [k = y]) - 1/2 log |var_k|, the logits of Eq. 17 of Wan et al. (2018).

    Their softmax is the posterior of a mixture of Gaussians with equal priors, the true class moved away by
    alpha times its distance d_k = 1/2 sum_j (x_j - mu_kj)^2 / var_kj (Eq. 18). A constant dim / 2 log(2 pi)
    is left out. The own class's distance is exact wherever it lies; those to others, multiplied out, carry
    rounding errors of about 1e-7 (|x|^2 + |mu|^2) / var in float32.

    Args:
        embeddings: (batch, dim), not normalised.
        means: (classes, dim).
        log_variances: (classes, dim) diagonal, or (classes, 1) one variance a class; zeros: identity.
        labels: (batch,), int64 in [0, classes); None: margin-free, whatever alpha.
        alpha: margin in shares of the true class's distance, >= 0.

    Returns:
        (batch, classes).

    Raises:
        InputError: a negative alpha, log variances of another shape, or labels out of range.
    """
    require_not_negative("alpha", alpha)
    _refuse_bad_shape(log_variances, means)
    if labels is None:
        return gaussian_log_densities(embeddings, means, log_variances)
    refuse_bad_labels(labels, batch=len(embeddings), classes=len(means))
    return margin_log_densities(embeddings, means, log_variances, labels, alpha=alpha)[0]


class LGMHead(Head):
    """A mixture of Gaussians; see `lgm_logits`.

    Args:
        classes: how many there are.
        embedding_dim: length of an embedding.
        alpha: the whole margin; it may grow in training.
        covariance: identity (as in the paper's experiments), or a variance learned per class (isotropic), or
            per class and dimension (diagonal).
        spread: standard deviation from which the means are drawn. Means that lie far apart compare embeddings
            harshly; with thousands of classes in hundreds of dimensions 1 / sqrt(dim), which is where a
            softmax layer begins, trains where 1 does not.
        means_rate: how many times faster than the rest the means learn. A mean moves only with samples of its
            class: with thousands of classes it lags far behind, and the likelihood means little until it has
            arrived.

    Raises:
        InputError: a negative alpha, or another covariance.
    """

    # Zero means nothing to a mean or a log variance. A variance follows from the spread of many samples.
    undecayed: ClassVar[frozenset[str]] = frozenset({"means", "log_variances"})

    def __init__(
        self,
        *,
        classes: int,
        embedding_dim: int,
        alpha: float,
        covariance: Covariance = "identity",
        spread: float = 1.0,
        means_rate: float = 1.0,
    ) -> None:
        super().__init__(classes=classes, embedding_dim=embedding_dim)
        require_not_negative("alpha", alpha)
        if covariance not in get_args(Covariance):
            known = ", ".join(get_args(Covariance))
            raise InputError("covariance", f"must be one of {known}", got=covariance, fix="Take one of them.")
        self.alpha = self.alpha_now = alpha
        self.learning_rate_factors = {"log_variances": 0.1, "means": means_rate}
        self.means = nn.Parameter(spread * torch.randn(classes, embedding_dim))
        self.log_variances: Tensor
        if covariance == "identity":
            self.register_buffer("log_variances", torch.zeros(classes, 1))
        else:
            size = embedding_dim if covariance == "diagonal" else 1
            self.log_variances = nn.Parameter(torch.zeros(classes, size))

    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Log densities, the true class's lowered by the margin in the margin logits."""
        if self.training and isinstance(self.log_variances, nn.Parameter):
            # As data, which autograd does not watch: of two forward passes before a backward one the second
            # finds nothing to change.
            self.log_variances.data.clamp_(-_LARGEST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE)
        logits, own = margin_log_densities(
            embeddings, self.means, self.log_variances, labels, alpha=self.alpha_now
        )
        return HeadOutput(logits, lambda: replace_true_class(logits, labels, own), own_log_density=own)

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """Log densities up to a constant, (batch, classes)."""
        return lgm_logits(embeddings, self.means, self.log_variances, None, alpha=0.0)

    def centres(self) -> Tensor:
        """The means."""
        return self.means

    def set_margin_progress(self, progress: float) -> None:
        """Put that share of alpha in force."""
        self.alpha_now = progress * self.alpha


def _refuse_bad_shape(log_variances: Tensor, means: Tensor) -> None:
    classes, dim = means.shape
    if log_variances.shape not in ((classes, dim), (classes, 1)):
        raise InputError(
            "log_variances",
            f"must be ({classes}, {dim}) or ({classes}, 1)",
            got=tuple(log_variances.shape),
            fix="One per class and dimension, or one per class; zeros for the identity.",
        )
