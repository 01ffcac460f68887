"""Densities of all classes' Gaussians, for L-GM."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from faceverif.heads.portions import asking_waits, portions, without_autocast, without_denormals, zero_own
from faceverif.sharding.own_class import OwnClass

# Of the class means and variances: few, as calls cost time; many, as temporaries of that size cost memory.
_PORTIONS = 16


def gaussian_log_densities(embeddings: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
    """log N(x; mu_k, var_k) + dim / 2 log(2 pi) of every embedding under every class.

    -1/2 sum_j ((x_j - mu_kj)^2 / var_kj + log var_kj), the square multiplied out: two products for diagonal
    variances, one where a class has a single variance.

    Args:
        embeddings: (batch, dim).
        means: (classes, dim).
        log_variances: (classes, dim) diagonal, or (classes, 1) isotropic.

    Returns:
        (batch, classes).
    """
    no_labels = torch.empty(0, dtype=torch.int64, device=embeddings.device)
    densities: Tensor
    densities, _ = _GaussianLogDensities.apply(embeddings, means, log_variances, no_labels, 0.0)
    return densities


def margin_log_densities(
    embeddings: Tensor, means: Tensor, log_variances: Tensor, labels: Tensor, *, alpha: float
) -> tuple[Tensor, Tensor]:
    """`gaussian_log_densities`, the squared distance to the own class multiplied by 1 + alpha.

    Wan et al., "Rethinking Feature Distribution for Loss Functions" (2018), Eqs. 17, 18.

    Args:
        embeddings: (batch, dim).
        means: (classes, dim).
        log_variances: (classes, dim) diagonal, or (classes, 1) isotropic.
        labels: (batch,); one outside [0, classes) names a class that is not among these.
        alpha: >= 0.

    Returns:
        (batch, classes) with the margin; (batch,) log density of the own class without it, of any value where
        that is not among these. What concerns the own class comes from plain differences, with nothing
        cancelled.
    """
    densities, own = _GaussianLogDensities.apply(embeddings, means, log_variances, labels, alpha)
    return densities, own


class _GaussianLogDensities(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(
        ctx: Any, x: Tensor, means: Tensor, log_variances: Tensor, labels: Tensor, alpha: float
    ) -> tuple[Tensor, Tensor]:
        diagonal = log_variances.shape[1] > 1
        densities = (_diagonal_densities if diagonal else _isotropic_densities)(x, means, log_variances)
        own = x.new_empty(len(labels))
        if len(labels):
            at = OwnClass.among(labels, len(means))
            mean, log_variance = means[at.place], log_variances[at.place]
            distance = 0.5 * ((x - mean).square() * torch.exp(-log_variance)).sum(dim=1)
            own = -distance - 0.5 * _log_determinants(log_variance, means)
            at.put(densities, own - alpha * distance)
        kept = densities if ctx.needs_input_grad[2] and not diagonal else None
        ctx.save_for_backward(x, means, log_variances, labels, kept)
        ctx.alpha = alpha
        return densities, own

    @staticmethod
    @torch.autograd.function.once_differentiable
    @without_autocast
    def backward(
        ctx: Any, gradient: Tensor, own_gradient: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        x, means, log_variances, labels, _ = ctx.saved_tensors
        dmeans, dlog = (
            torch.empty_like(tensor) if needed else None
            for tensor, needed in zip((means, log_variances), ctx.needs_input_grad[1:3], strict=True)
        )
        into = _GaussianGradients(torch.zeros_like(x), dmeans, dlog)
        set_gradients = _set_diagonal if log_variances.shape[1] > 1 else _set_isotropic
        set_gradients(into, gradient, ctx.saved_tensors)
        if len(labels):
            at = OwnClass.among(labels, len(means))
            margin_gradient = at.of(gradient)
            own_gradient = torch.where(at.here, own_gradient, 0.0)
            # Of the own class's distance, which the margin multiplies, and of its log determinant.
            distance_gradient = own_gradient + (1.0 + ctx.alpha) * margin_gradient
            determinant_gradient = own_gradient + margin_gradient
            difference, precision = x - means[at.place], torch.exp(-log_variances[at.place])
            pull = distance_gradient[:, None] * difference * precision
            into.x.sub_(pull)
            if dmeans is not None:
                dmeans.index_add_(0, at.place, pull)
            if dlog is not None:
                widen = 0.5 * (pull * difference - determinant_gradient[:, None])
                dlog.index_add_(0, at.place, widen if dlog.shape[1] > 1 else widen.sum(1, keepdim=True))
        return into.x, dmeans, dlog, None, None


class _GaussianGradients(NamedTuple):
    """Where gradients go: of embeddings (added to), means and log variances (set; None: not needed)."""

    x: Tensor
    means: Tensor | None
    log_variances: Tensor | None


def _isotropic_densities(x: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
    """-1/2 (|x|^2 - 2 x . mu + |mu|^2) / var - dim / 2 log var, one variance a class."""
    # Before the product, which then finds the means in the cache.
    squares = torch.linalg.vector_norm(means, dim=1).square_()
    out = x @ means.T
    out.sub_(0.5 * x.square().sum(dim=1, keepdim=True)).sub_(0.5 * squares)
    out.clamp_max_(0.0)  # the square multiplied out loses digits, and may fall below zero by them
    if asking_waits(log_variances) or log_variances.any():
        peaks = -0.5 * _log_determinants(log_variances, means)
        torch.addcmul(peaks, out, torch.exp(-log_variances[:, 0]), out=out)
    return out


def _set_isotropic(into: _GaussianGradients, gradient: Tensor, saved: tuple[Tensor, ...]) -> None:
    """Gradients through the densities of all classes but each sample's own."""
    x, means, log_variances, labels, densities = saved
    precision = torch.exp(-log_variances[:, 0])
    g = without_denormals(gradient)
    if len(labels):
        OwnClass.among(labels, len(means)).put(g, 0.0)
    total = g.sum(dim=0)
    if into.log_variances is not None:
        # sum_b g (distance - dim / 2), the distance taken from the density.
        spread = (g * densities).sum(dim=0).addcmul_(total, 0.5 * _log_determinants(log_variances, means))
        torch.add(spread, total, alpha=0.5 * means.shape[1], out=into.log_variances[:, 0]).neg_()
    g.mul_(precision)
    if into.means is not None:
        torch.mul(means, (-precision * total)[:, None], out=into.means).addmm_(g.T, x)
    into.x.addcmul_(x, g.sum(dim=1, keepdim=True), value=-1.0).addmm_(g, means)


def _diagonal_densities(x: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
    """-1/2 sum_j (x_j^2 / var_j - 2 x_j mu_j / var_j + mu_j^2 / var_j) - 1/2 sum_j log var_j."""
    densities = x.new_empty(len(x), len(means))
    squares = x.square()
    for classes in portions(x, means, at_most=_PORTIONS):
        mean, out = means[classes], densities[:, classes]
        precision = torch.neg(log_variances[classes]).exp_()
        torch.mm(squares, precision.T, out=out)
        weighted = precision.mul_(mean)
        out.mul_(-0.5).addmm_(x, weighted.T).sub_(0.5 * torch.linalg.vecdot(mean, weighted))
        out.clamp_max_(0.0).sub_(0.5 * _log_determinants(log_variances[classes], means))
    return densities


def _set_diagonal(into: _GaussianGradients, gradient: Tensor, saved: tuple[Tensor, ...]) -> None:
    """Gradients through the densities of all classes but each sample's own."""
    x, means, log_variances, labels, _ = saved
    squares = x.square()
    for classes in portions(x, means, at_most=_PORTIONS):
        mean = means[classes]
        precision = torch.neg(log_variances[classes]).exp_()
        g = zero_own(without_denormals(gradient[:, classes]), labels, classes)
        into.x.addcmul_(x, g @ precision, value=-1.0).addmm_(g, mean * precision)
        if into.means is None and into.log_variances is None:
            continue
        total = g.sum(dim=0)[:, None]
        # sum_b g (x - mu); with G = sum_b g, sum_b g (x - mu)^2 is sum_b g x^2 - 2 mu (away + mu G / 2).
        away = torch.mul(mean, -total, out=None if into.means is None else into.means[classes]).addmm_(g.T, x)
        if into.log_variances is not None:
            spread = torch.addcmul(away, mean, 0.5 * total, out=into.log_variances[classes]).mul_(mean)
            spread.addmm_(g.T, squares, beta=-2.0)
            torch.addcmul(-0.5 * total, precision, spread, value=0.5, out=spread)
        away.mul_(precision)


def _log_determinants(log_variances: Tensor, means: Tensor) -> Tensor:
    repeats = means.shape[1] // log_variances.shape[1]
    return log_variances.sum(dim=1) * repeats
