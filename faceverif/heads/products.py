"""Products of embeddings with all classes: a portion of the classes at a time, forward and backward.

With 85,742 classes every (classes, dim) or (batch, classes) temporary costs 175 MB and a trip to memory, and
a normalised copy of the class weights is one of them. Here such values exist for a few thousand classes at a
time, in the processor's cache, so a normalised or weights-biased product costs little more time and no more
memory than a linear layer.

Where logits lie far apart the gradient of a softmax is full of denormal floats, on which a CPU's matrix
products crawl. What is below 1e-30 is cut off before the products.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_WORTHLESS = 1e-30
# Floats of one portion's weights and logits together: 4 MB on a CPU, to stay in its cache.
_PORTION = {"cpu": 2**20}
_PORTION_ELSEWHERE = 2**26
_SMALLEST_PORTION = 64

_SMALLEST_NORM = 1e-12
# |alpha w_c + w_j|^2 is zero for alpha = 1 and opposite weights; in float32 it is noise below this.
_SMALLEST_SQUARE = 1e-6


def linear_products(embeddings: Tensor, weight: Tensor) -> Tensor:
    """x . w_j of every embedding with every class.

    Args:
        embeddings: (batch, dim).
        weight: (classes, dim).

    Returns:
        (batch, classes).
    """
    products: Tensor = _LinearProducts.apply(embeddings, weight, False)
    return products


def unit_weight_products(embeddings: Tensor, weight: Tensor) -> Tensor:
    """x . w_j / |w_j| of every embedding with every class.

    Args:
        embeddings: (batch, dim).
        weight: (classes, dim), any norm but zero.

    Returns:
        (batch, classes).
    """
    products: Tensor = _LinearProducts.apply(embeddings, weight, True)
    return products


def biased_weight_products(
    embeddings: Tensor, weight: Tensor, labels: Tensor, *, alpha: float
) -> tuple[Tensor, Tensor]:
    """x . w'_j, each unit weight w_j pulled towards that of the sample's own class.

    w'_j = (alpha w_c + w_j) / |alpha w_c + w_j| with unit w; its product with x needs only x . w_j, x . w_c
    and w_c . w_j.

    Args:
        embeddings: (batch, dim).
        weight: (classes, dim), any norm but zero.
        labels: (batch,).
        alpha: the pull, >= 0.

    Returns:
        (batch, classes) products; (batch, classes) 1 / |alpha w_c + w_j|, without a gradient.
    """
    products, inverse_length = _BiasedWeightProducts.apply(embeddings, weight, labels, alpha)
    return products, inverse_length


def gaussian_log_densities(embeddings: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
    """log N(x; mu_k, var_k) + dim / 2 log(2 pi) of every embedding under every class.

    -1/2 sum_j ((x_j - mu_kj)^2 / var_kj + log var_kj), the square multiplied out: two products for diagonal
    variances, one where a class has a single variance. Embeddings and means are first moved by the mean of
    the means, which changes no distance and takes the largest part out of the cancellation.

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


class _LinearProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, unit: bool) -> Tensor:
        products = x.new_empty(len(x), len(weight))
        inverse_norms = x.new_ones(len(weight))
        for classes in _portions(x, weight):
            w, out = weight[classes], products[:, classes]
            torch.mm(x, w.T, out=out)
            if unit:
                inverse_norms[classes] = _inverse_norms(w)
                out.mul_(inverse_norms[classes])
        ctx.save_for_backward(x, weight, inverse_norms)
        ctx.unit = unit
        return products

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight, inverse_norms = ctx.saved_tensors
        x_needed, weight_needed = ctx.needs_input_grad[:2]
        dx = torch.zeros_like(x) if x_needed else None
        dweight = torch.empty_like(weight) if weight_needed else None
        for classes in _portions(x, weight):
            w, g = weight[classes], _without_denormals(gradient[:, classes])
            if ctx.unit:
                g.mul_(inverse_norms[classes])
            if dx is not None:
                dx.addmm_(g, w)
            if dweight is not None:
                dw = torch.mm(g.T, x, out=dweight[classes])
                if ctx.unit:
                    _turn_only(dw, w, inverse_norms[classes])
        return dx, dweight, None


class _BiasedWeightProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, labels: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
        own = F.normalize(weight[labels])
        own_products = torch.linalg.vecdot(x, own)[:, None]
        products = x.new_empty(len(x), len(weight))
        inverse_lengths = torch.empty_like(products)
        inverse_norms = x.new_empty(len(weight))
        for classes in _portions(x, weight):
            w, out, inverse_length = weight[classes], products[:, classes], inverse_lengths[:, classes]
            inverse_norms[classes] = _inverse_norms(w)
            torch.mm(own, w.T, out=inverse_length).mul_(2 * alpha * inverse_norms[classes])
            inverse_length.add_(1 + alpha**2).clamp_min_(_SMALLEST_SQUARE).rsqrt_()
            torch.mm(x, w.T, out=out).mul_(inverse_norms[classes])
            out.add_(own_products, alpha=alpha).mul_(inverse_length)
        products.scatter_(1, labels[:, None], own_products)
        ctx.save_for_backward(x, weight, labels, own, inverse_norms, products, inverse_lengths)
        ctx.alpha = alpha
        ctx.mark_non_differentiable(inverse_lengths)
        ctx.set_materialize_grads(False)
        return products, inverse_lengths

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, gradient: Tensor | None, _: None
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        if gradient is None:
            return None, None, None, None
        x, weight, labels, own, inverse_norms, products, inverse_lengths = ctx.saved_tensors
        weight_needed = ctx.needs_input_grad[1]
        # Of the products with the sample's own class, which stand in every column.
        own_gradient = gradient.gather(1, labels[:, None]).squeeze(1)
        dx = torch.zeros_like(x)
        dweight = torch.empty_like(weight) if weight_needed else None
        down = torch.zeros_like(own)
        for classes in _portions(x, weight):
            w, inverse_norm = weight[classes], inverse_norms[classes]
            inverse_length = inverse_lengths[:, classes]
            g = _without_denormals(gradient[:, classes])
            _without_own(g, labels, classes).mul_(inverse_length)
            own_gradient += ctx.alpha * g.sum(dim=1)
            # d/dG of (..) (alpha^2 + 1 + 2 alpha G)^(-1/2); at the floor the length stands still.
            g_length = (g * products[:, classes]).mul_(inverse_length).mul_(-ctx.alpha)
            g_length.masked_fill_(inverse_length >= _SMALLEST_SQUARE**-0.5, 0.0)
            if dweight is not None:
                dw = torch.mm(g.T, x, out=dweight[classes]).addmm_(g_length.T, own)
                dw.mul_(inverse_norm[:, None])
                _turn_only(dw, w, inverse_norm)
            dx.addmm_(g.mul_(inverse_norm), w)
            down.addmm_(g_length.mul_(inverse_norm), w)
        dx.addcmul_(own_gradient[:, None], own)
        if dweight is not None:
            down.addcmul_(own_gradient[:, None], x)
            down.mul_(inverse_norms[labels][:, None])
            _turn_only(down, weight[labels], inverse_norms[labels])
            dweight.index_add_(0, labels, down)
        return dx, dweight, None, None


class _GaussianLogDensities(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, means: Tensor, log_variances: Tensor, labels: Tensor, alpha: float
    ) -> tuple[Tensor, Tensor]:
        centre = means.mean(dim=0)
        moved = x - centre
        square = _squares(moved, log_variances)
        densities = x.new_empty(len(x), len(means))
        for classes in _portions(x, means):
            precision, out = torch.exp(-log_variances[classes]), densities[:, classes]
            mean = means[classes] - centre
            weighted = mean * precision
            torch.mm(square, precision.T, out=out).addmm_(moved, weighted.T, alpha=-2.0)
            out.add_(torch.linalg.vecdot(mean, weighted))
            # The square multiplied out loses digits, and may fall below zero by them.
            out.clamp_min_(0.0).add_(_log_determinants(log_variances[classes], means)).mul_(-0.5)
        own = x.new_empty(len(labels))
        if len(labels):
            mean, log_variance = means[labels], log_variances[labels]
            distance = 0.5 * ((x - mean).square() * torch.exp(-log_variance)).sum(dim=1)
            own = -distance - 0.5 * _log_determinants(log_variance, means)
            densities.scatter_(1, labels[:, None], (own - alpha * distance)[:, None])
        ctx.save_for_backward(x, means, log_variances, labels, centre)
        ctx.alpha = alpha
        ctx.set_materialize_grads(False)
        return densities, own

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, gradient: Tensor | None, own_gradient: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        x, means, log_variances, labels, _ = ctx.saved_tensors
        dmeans = torch.zeros_like(means) if ctx.needs_input_grad[1] else None
        dlog = torch.zeros_like(log_variances) if ctx.needs_input_grad[2] else None
        dx = torch.zeros_like(x)
        # Per sample, of the own class's log determinant and of its distance, which the margin multiplies.
        determinant_gradient, distance_gradient = x.new_zeros(len(x)), x.new_zeros(len(x))
        if own_gradient is not None and len(labels):
            determinant_gradient += own_gradient
            distance_gradient += own_gradient
        if gradient is not None:
            if len(labels):
                margin_gradient = gradient.gather(1, labels[:, None]).squeeze(1)
                determinant_gradient += margin_gradient
                distance_gradient += (1.0 + ctx.alpha) * margin_gradient
            _add_others_gradients(ctx.saved_tensors, gradient, dx, dmeans, dlog)
        if len(labels):
            difference, precision = x - means[labels], torch.exp(-log_variances[labels])
            pull = distance_gradient[:, None] * difference * precision
            dx -= pull
            if dmeans is not None:
                dmeans.index_add_(0, labels, pull)
            if dlog is not None:
                widen = 0.5 * (pull * difference - determinant_gradient[:, None])
                dlog.index_add_(0, labels, widen if dlog.shape[1] > 1 else widen.sum(1, keepdim=True))
        return dx, dmeans, dlog, None, None


def _add_others_gradients(
    saved: tuple[Tensor, ...], gradient: Tensor, dx: Tensor, dmeans: Tensor | None, dlog: Tensor | None
) -> None:
    """Gradients through the densities of all classes but each sample's own."""
    x, means, log_variances, labels, centre = saved
    moved = x - centre
    square = _squares(moved, log_variances)
    push = moved.new_zeros(len(x), log_variances.shape[1])
    for classes in _portions(x, means):
        # The gradient of the distance 1/2 sum (x - mu)^2 / var is minus that of the density.
        g = _without_own(_without_denormals(gradient[:, classes]), labels, classes).neg_()
        precision, mean = torch.exp(-log_variances[classes]), means[classes] - centre
        push.addmm_(g, precision)
        dx.addmm_(g, mean * precision, alpha=-1.0)
        if dmeans is None and dlog is None:
            continue
        total, towards = g.sum(dim=0)[:, None], g.T @ moved
        if dlog is not None:
            spread = torch.mm(g.T, square)
            cross, length = mean * towards, mean.square()
            if log_variances.shape[1] == 1:
                cross, length = cross.sum(1, keepdim=True), length.sum(1, keepdim=True)
            spread.add_(cross, alpha=-2.0).add_(length.mul_(total)).mul_(precision)
            repeats = means.shape[1] // log_variances.shape[1]
            torch.sub(repeats * total, spread, out=dlog[classes]).mul_(0.5)
        if dmeans is not None:
            torch.mul(mean, total, out=dmeans[classes]).sub_(towards).mul_(precision)
    dx.addcmul_(moved, push)


def _portions(x: Tensor, weight: Tensor) -> Iterator[slice]:
    """All classes, in portions whose weights and logits fit in the cache together."""
    floats = _PORTION.get(x.device.type, _PORTION_ELSEWHERE)
    size = max(_SMALLEST_PORTION, floats // (len(x) + x.shape[1]))
    for start in range(0, len(weight), size):
        yield slice(start, min(start + size, len(weight)))


def _without_denormals(gradient: Tensor) -> Tensor:
    """A contiguous copy in which what is too small to matter is zero."""
    return F.hardshrink(gradient.contiguous(), _WORTHLESS)


def _without_own(gradient: Tensor, labels: Tensor, classes: slice) -> Tensor:
    """The gradient of a portion of the classes, zeroed in place at each sample's own class."""
    place = labels - classes.start
    inside = (place >= 0) & (place < gradient.shape[1])
    rows = inside.nonzero().squeeze(1)
    gradient[rows, place[rows]] = 0.0
    return gradient


def _inverse_norms(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=1).clamp_min_(_SMALLEST_NORM).reciprocal_()


def _turn_only(gradient: Tensor, weight: Tensor, inverse_norms: Tensor) -> None:
    """Take out of the weights' gradient what points along them: a unit weight can only turn."""
    along = torch.linalg.vecdot(gradient, weight).mul_(inverse_norms.square())
    gradient.addcmul_(weight, along[:, None], value=-1.0)


def _squares(moved: Tensor, log_variances: Tensor) -> Tensor:
    """What meets the precisions: (batch, dim) for diagonal ones, (batch, 1) where a class has one."""
    square = moved.square()
    return square if log_variances.shape[1] > 1 else square.sum(dim=1, keepdim=True)


def _log_determinants(log_variances: Tensor, means: Tensor) -> Tensor:
    repeats = means.shape[1] // log_variances.shape[1]
    return log_variances.sum(dim=1) * repeats
