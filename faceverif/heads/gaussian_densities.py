"""Densities of all classes' Gaussians, for L-GM."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from faceverif.heads.portions import portions, set_own, without_denormals


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

    Args:
        embeddings: (batch, dim).
        means: (classes, dim).
        log_variances: (classes, dim) diagonal, or (classes, 1) isotropic.
        labels: (batch,).
        alpha: >= 0.

    Returns:
        (batch, classes) with the margin; (batch,) log density of the own class without it. What concerns the
        own class comes from plain differences, with nothing cancelled.
    """
    densities, own = _GaussianLogDensities.apply(embeddings, means, log_variances, labels, alpha)
    return densities, own


class _GaussianLogDensities(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, means: Tensor, log_variances: Tensor, labels: Tensor, alpha: float
    ) -> tuple[Tensor, Tensor]:
        densities = x.new_empty(len(x), len(means))
        add_densities = _add_diagonal if log_variances.shape[1] > 1 else _add_isotropic
        for classes in portions(x, means):
            add_densities(densities[:, classes], x, means[classes], log_variances[classes])
        own = x.new_empty(len(labels))
        if len(labels):
            mean, log_variance = means[labels], log_variances[labels]
            distance = 0.5 * ((x - mean).square() * torch.exp(-log_variance)).sum(dim=1)
            own = -distance - 0.5 * _log_determinants(log_variance, means)
            densities.scatter_(1, labels[:, None], (own - alpha * distance)[:, None])
        ctx.save_for_backward(x, means, log_variances, labels)
        ctx.alpha = alpha
        return densities, own

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, gradient: Tensor, own_gradient: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        x, means, log_variances, labels = ctx.saved_tensors
        dmeans, dlog = (
            torch.empty_like(tensor) if needed else None
            for tensor, needed in zip((means, log_variances), ctx.needs_input_grad[1:3], strict=True)
        )
        into = _GaussianGradients(torch.zeros_like(x), dmeans, dlog)
        _set_gradients_of_others(ctx.saved_tensors, gradient, into)
        if len(labels):
            margin_gradient = gradient.gather(1, labels[:, None]).squeeze(1)
            # Of the own class's distance, which the margin multiplies, and of its log determinant.
            distance_gradient = own_gradient + (1.0 + ctx.alpha) * margin_gradient
            determinant_gradient = own_gradient + margin_gradient
            difference, precision = x - means[labels], torch.exp(-log_variances[labels])
            pull = distance_gradient[:, None] * difference * precision
            into.x.sub_(pull)
            if dmeans is not None:
                dmeans.index_add_(0, labels, pull)
            if dlog is not None:
                widen = 0.5 * (pull * difference - determinant_gradient[:, None])
                dlog.index_add_(0, labels, widen if dlog.shape[1] > 1 else widen.sum(1, keepdim=True))
        return into.x, dmeans, dlog, None, None


def _add_isotropic(out: Tensor, x: Tensor, means: Tensor, log_variances: Tensor) -> None:
    """-1/2 (|x|^2 - 2 x . mu + |mu|^2) / var - dim / 2 log var, one variance a class."""
    torch.mm(x, means.T, out=out)
    out.sub_(0.5 * x.square().sum(dim=1)[:, None]).sub_(0.5 * _squared_norms(means))
    # The square multiplied out loses digits, and may fall below zero by them.
    out.clamp_max_(0.0).mul_(torch.exp(-log_variances[:, 0]))
    out.sub_(0.5 * _log_determinants(log_variances, means))


def _add_diagonal(out: Tensor, x: Tensor, means: Tensor, log_variances: Tensor) -> None:
    """-1/2 sum_j (x_j^2 / var_j - 2 x_j mu_j / var_j + mu_j^2 / var_j) - 1/2 sum_j log var_j."""
    precision = torch.neg(log_variances).exp_()
    torch.mm(x.square(), precision.T, out=out)
    weighted = precision.mul_(means)
    out.mul_(-0.5).addmm_(x, weighted.T).sub_(0.5 * torch.linalg.vecdot(means, weighted))
    out.clamp_max_(0.0).sub_(0.5 * _log_determinants(log_variances, means))


class _GaussianGradients(NamedTuple):
    """Where gradients go: of embeddings (added to), means and log variances (set; None: not needed)."""

    x: Tensor
    means: Tensor | None
    log_variances: Tensor | None


def _set_gradients_of_others(saved: tuple[Tensor, ...], gradient: Tensor, into: _GaussianGradients) -> None:
    """Gradients through the densities of all classes but each sample's own."""
    x, means, log_variances, labels = saved
    set_gradients = _set_diagonal if log_variances.shape[1] > 1 else _set_isotropic
    for classes in portions(x, means):
        # The gradient of the distance 1/2 sum (x - mu)^2 / var is minus that of the density.
        g = set_own(without_denormals(gradient[:, classes]), labels, classes, None).neg_()
        precision = torch.neg(log_variances[classes]).exp_()
        set_gradients(g, x, means[classes], precision, classes, into)


def _set_isotropic(
    g: Tensor, x: Tensor, mean: Tensor, precision: Tensor, classes: slice, into: _GaussianGradients
) -> None:
    total = g.sum(dim=0)[:, None]
    if into.means is not None or into.log_variances is not None:
        gathered = torch.mm(g.T, x, out=None if into.means is None else into.means[classes])
        if into.log_variances is not None:
            # sum_b g |x - mu|^2, multiplied out.
            squares = g.T @ x.square().sum(dim=1, keepdim=True) + total * _squared_norms(mean)[:, None]
            spread = (squares - 2.0 * torch.linalg.vecdot(gathered, mean)[:, None]) * precision
            torch.sub(mean.shape[1] * total, spread, out=into.log_variances[classes]).mul_(0.5)
        if into.means is not None:
            gathered.addcmul_(mean, total, value=-1.0).mul_(-precision)
    g.mul_(precision.T)
    into.x.addcmul_(x, g.sum(dim=1, keepdim=True)).addmm_(g, mean, alpha=-1.0)


def _set_diagonal(
    g: Tensor, x: Tensor, mean: Tensor, precision: Tensor, classes: slice, into: _GaussianGradients
) -> None:
    into.x.addcmul_(x, g @ precision).addmm_(g, mean * precision, alpha=-1.0)
    if into.means is None and into.log_variances is None:
        return
    # sum_b g (mu - x), and from it sum_b g (x - mu)^2 = sum_b g x^2 + 2 mu sum_b g (mu - x) - mu^2 sum_b g.
    total = g.sum(dim=0)[:, None]
    weighted = mean * total
    away = torch.addmm(weighted, g.T, x, alpha=-1.0)
    if into.log_variances is not None:
        spread = torch.sub(away, weighted, alpha=0.5, out=into.log_variances[classes]).mul_(mean)
        spread.addmm_(g.T, x.square(), beta=-1.0, alpha=-0.5).mul_(precision).add_(0.5 * total)
    if into.means is not None:
        torch.mul(away, precision, out=into.means[classes])


def _squared_norms(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1).square()


def _log_determinants(log_variances: Tensor, means: Tensor) -> Tensor:
    repeats = means.shape[1] // log_variances.shape[1]
    return log_variances.sum(dim=1) * repeats
