"""L-GM: each class is a Gaussian in the space of embeddings, with a margin on the distance to its mean."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from data_prep.errors import InputError
from faceverif.checked_tensors import require_not_negative
from faceverif.heads.angular import replace_true_class
from faceverif.heads.base import Head, HeadOutput
from faceverif.heads.gaussian_densities import gaussian_log_densities, margin_log_densities
from faceverif.heads.moments import ClassMoments
from faceverif.heads.products import linear_products

Covariance = Literal["identity", "isotropic", "diagonal", "shared"]
MeansFrom = Literal["random", "from_data"]

# The steps of a training hold a learned variance between e^-4 and e^4: a dimension in which a class collapses
# to a point would otherwise outweigh all others.
_LARGEST_LOG_VARIANCE = 4.0
# As a start, a direction in which a data set hardly varies has at least this share of its largest variance.
_SMALLEST_VARIANCE = 1e-6
# A standard deviation below this share of the means' length is the rounding of float32.
_ROUNDING = 1e-6


def log_densities(
    embeddings: Tensor, means: Tensor, log_variances: Tensor, whitening: Tensor | None
) -> Tensor:
    """Log density of each embedding under a Gaussian of its own, up to dim / 2 log(2 pi); plain differences.

    Args:
        embeddings: (batch, dim).
        means: (batch, dim).
        log_variances: (batch, dim), or (batch, 1) one for all dimensions.
        whitening: (dim, dim), W of a shared precision W W'; None: the identity.

    Returns:
        (batch,).
    """
    away, volume = embeddings - means, embeddings.new_zeros(())
    if whitening is not None:
        away, volume = away @ whitening, _log_volume(whitening)
    terms = away.square() * torch.exp(-log_variances) + log_variances
    return volume - 0.5 * terms.sum(dim=1)


class LGMHead(Head):
    """-d_k (1 + alpha [k = y]) - 1/2 log |var_k|, the logits of Eq. 17 of Wan et al. (2018).

    Their softmax is the posterior of a mixture of Gaussians with equal priors, the true class moved away by
    alpha times its distance d_k = 1/2 sum_j (x_j - mu_kj)^2 / var_kj (Eq. 18). A constant dim / 2 log(2 pi)
    is left out. The own class's distance is exact wherever it lies; those to others, multiplied out, carry
    rounding errors of about 1e-7 (|x|^2 + |mu|^2) / var in float32.

    Args:
        classes: how many there are.
        embedding_dim: length of an embedding.
        alpha: the whole margin; it may grow in training.
        covariance: identity (as in the paper's experiments), or a variance learned per class (isotropic), or
            per class and dimension (diagonal), or one whole covariance matrix for all classes (shared).
        means: random, or from_data: who trains calls `start_at` with the moments of a trained backbone.
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
    undecayed: ClassVar[frozenset[str]] = frozenset({"means", "log_variances", "whitening"})
    by_class = frozenset({"means", "log_variances"})
    centres_name = "means"

    def __init__(
        self,
        *,
        classes: int,
        embedding_dim: int,
        alpha: float,
        covariance: Covariance = "identity",
        means: MeansFrom = "random",
        spread: float = 1.0,
        means_rate: float = 1.0,
    ) -> None:
        super().__init__(classes=classes, embedding_dim=embedding_dim)
        require_not_negative("alpha", alpha)
        if covariance not in get_args(Covariance):
            known = ", ".join(get_args(Covariance))
            raise InputError("covariance", f"must be one of {known}", got=covariance, fix="Take one of them.")
        self.alpha = self.alpha_now = alpha
        self.covariance = covariance
        self.learning_rate_factors = {"log_variances": 0.1, "whitening": 0.1, "means": means_rate}
        self.starts_from_data = means == "from_data"
        self.means = nn.Parameter(spread * torch.randn(classes, embedding_dim))
        self.log_variances: Tensor
        self.whitening: Tensor | None = None
        if covariance == "shared":
            # W of the precision W W': after x -> x W the shared covariance is the identity.
            self.whitening = nn.Parameter(torch.eye(embedding_dim))
        if covariance in ("identity", "shared"):
            self.register_buffer("log_variances", torch.zeros(classes, 1))
        else:
            size = embedding_dim if covariance == "diagonal" else 1
            self.log_variances = nn.Parameter(torch.zeros(classes, size))

    def observe(self, embeddings: Tensor, labels: Tensor) -> None:
        """Hold variances per class or dimension within their bounds."""
        if isinstance(self.log_variances, nn.Parameter):
            # As data, which autograd does not watch: of two forward passes before a backward one the second
            # finds nothing to change.
            self.log_variances.data.clamp_(-_LARGEST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE)

    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Log densities, the true class's lowered by the margin in the margin logits."""
        x, means = self._whitened(embeddings)
        logits, own = margin_log_densities(x, means, self.log_variances, labels, alpha=self.alpha_now)
        if self.whitening is not None:
            volume = _log_volume(self.whitening)
            logits, own = logits + volume, own + volume
        return HeadOutput(logits, lambda: replace_true_class(logits, labels, own), own_log_density=own)

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """Log densities up to a constant, (batch, classes)."""
        x, means = self._whitened(embeddings)
        logits = gaussian_log_densities(x, means, self.log_variances)
        return logits if self.whitening is None else logits + _log_volume(self.whitening)

    def _whitened(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and means where a shared covariance is the identity."""
        if self.whitening is None:
            return embeddings, self.means
        columns = self.whitening.T
        # Not `@`, whose backward pass under autocast has the three digits of bfloat16.
        return linear_products(embeddings, columns), linear_products(self.means, columns)

    @torch.no_grad()
    def start_at(self, moments: ClassMoments) -> None:
        """The Gaussians of maximum likelihood: class means, and one covariance in the form that the head has.

        A direction has at least a millionth of the largest variance. Other bounds hold from the first step of
        a training on: `observe` puts variances per class or dimension between e^-4 and e^4.

        Raises:
            InputError: the samples of a class do not differ, or a shared covariance of too few samples, which
                is singular.
        """
        if self.covariance != "identity":
            _refuse_points(moments, self.covariance)
        self.means.copy_(self.held(moments.means))
        if self.whitening is not None:
            self.whitening.copy_(_whitening(moments))
        elif isinstance(self.log_variances, nn.Parameter):
            variances = moments.within.diagonal()
            variances = _raised(variances) if self.covariance == "diagonal" else variances.mean()
            self.log_variances.copy_(variances.log())

    def centres(self) -> Tensor:
        """The means."""
        return self.means

    def set_margin_progress(self, progress: float) -> None:
        """Put that share of alpha in force."""
        self.alpha_now = progress * self.alpha


def _log_volume(whitening: Tensor) -> Tensor:
    """What x -> x W adds to a log density, half the log determinant of the precision."""
    return torch.linalg.slogdet(whitening).logabsdet


def _refuse_points(moments: ClassMoments, covariance: Covariance) -> None:
    """A class whose samples are one point has no Gaussian."""
    largest, length = moments.within.diagonal().max(), moments.means.square().sum(dim=1).max()
    if largest <= _ROUNDING**2 * length:
        raise InputError(
            "head.covariance",
            f"{covariance} needs embeddings that differ within a class",
            got="the same embedding for all photos of each class",
            fix="Take photos that differ, or covariance: identity.",
        )


def _raised(variances: Tensor) -> Tensor:
    """Variances, those of directions in which hardly anything varies raised to a share of the largest."""
    return variances.clamp_min(_SMALLEST_VARIANCE * variances.max())


def _whitening(moments: ClassMoments) -> Tensor:
    """W such that W W' is the inverse of the covariance within the classes, (dim, dim) float64."""
    classes, dim = moments.means.shape
    if moments.samples < classes + dim:
        raise InputError(
            "head.covariance",
            f"shared needs {classes + dim:,} photos or more: one for each of {classes:,} classes, and "
            f"{dim:,} beyond, the dimension of the embeddings",
            got=f"{moments.samples:,}",
            fix="Train on more photos, or take covariance: diagonal.",
        )
    variances, directions = torch.linalg.eigh(moments.within)
    return directions / _raised(variances).sqrt()
