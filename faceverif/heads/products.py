"""Products of embeddings with all classes: a portion of the classes at a time, forward and backward.

With 85,742 classes every (classes, dim) or (batch, classes) temporary costs 175 MB and a trip to memory, and
a normalised copy of the class weights is one of them. Here such values exist for a few thousand classes at a
time, in the processor's cache, so a normalised or weights-biased product costs little more time and no more
memory than a linear layer.

Where logits lie far apart the gradient of a softmax is full of denormal floats, on which a CPU's matrix
products crawl. What is below 1e-30 is cut off before the products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

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
_LONGEST_INVERSE = 0.999 * _SMALLEST_SQUARE**-0.5


# A sample's logit of its own class, from: the product with it, the embedding's norm, the class weight's norm.
Margin = Callable[[Tensor, Tensor, Tensor], Tensor]


def linear_products(embeddings: Tensor, weight: Tensor) -> Tensor:
    """x . w_j of every embedding with every class.

    Args:
        embeddings: (batch, dim).
        weight: (classes, dim).

    Returns:
        (batch, classes).
    """
    products, _ = _Products.apply(embeddings, weight, None, None, False)
    return products


def unit_weight_products(embeddings: Tensor, weight: Tensor) -> Tensor:
    """x . w_j / |w_j| of every embedding with every class.

    Args:
        embeddings: (batch, dim).
        weight: (classes, dim), any norm but zero.

    Returns:
        (batch, classes).
    """
    products, _ = _Products.apply(embeddings, weight, None, None, True)
    return products


def products_with_margin(
    embeddings: Tensor, weight: Tensor, labels: Tensor, margin: Margin, *, unit_weight: bool
) -> tuple[Tensor, Tensor]:
    """Products with every class, that of the own class put through a margin.

    Args:
        embeddings: (batch, dim).
        weight: (classes, dim).
        labels: (batch,).
        margin: maps (batch,) products with the own class, norms of the embeddings and norms of the own
            class's weight to (batch,) logits; gradients flow through all three. With unit weights the last
            are ones.
        unit_weight: take the class weights as unit vectors.

    Returns:
        (batch, classes) logits; (batch,) products with the own class, without a gradient.
    """
    logits, own = _Products.apply(embeddings, weight, labels, margin, unit_weight)
    return logits, own


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


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, labels: Tensor | None, margin: Margin | None, unit: bool
    ) -> tuple[Tensor, Tensor]:
        logits = x.new_empty(len(x), len(weight))
        inverse_norms = x.new_ones(len(weight))
        for classes in _portions(x, weight):
            w, out = weight[classes], logits[:, classes]
            torch.mm(x, w.T, out=out)
            if unit:
                inverse_norms[classes] = _inverse_norms(w)
                out.mul_(inverse_norms[classes])
        own = x.new_empty(0)
        ctx.own = None
        if labels is not None and margin is not None:
            own = logits.gather(1, labels[:, None]).squeeze(1)
            ctx.own = _OwnLogits.of(own, x, weight[labels], margin, unit=unit)
            logits.scatter_(1, labels[:, None], ctx.own.logits.detach()[:, None])
        ctx.save_for_backward(x, weight, labels, inverse_norms, logits if unit else None)
        ctx.unit = unit
        ctx.mark_non_differentiable(own)
        ctx.set_materialize_grads(False)
        return logits, own

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, gradient: Tensor | None, _: None
    ) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        if gradient is None:
            return None, None, None, None, None
        x, weight, labels, inverse_norms, logits = ctx.saved_tensors
        x_needed, weight_needed = ctx.needs_input_grad[:2]
        dx = torch.zeros_like(x) if x_needed else None
        dweight = torch.empty_like(weight) if weight_needed else None
        own_gradient, along_own = None, torch.zeros_like(inverse_norms)
        if ctx.own is not None:
            own_gradient, norm_gradient, weight_norm_gradient = ctx.own.gradients(gradient, labels)
            along_own.index_add_(0, labels, own_gradient * (ctx.own.products - ctx.own.logits).detach())
            if dx is not None:
                dx.addcmul_(norm_gradient[:, None], F.normalize(x))
        for classes in _portions(x, weight):
            w, inverse_norm = weight[classes], inverse_norms[classes]
            g = _without_denormals(gradient[:, classes])
            if own_gradient is not None:
                _set_own(g, labels, classes, own_gradient)
            if ctx.unit and dweight is not None:
                along = (g * logits[:, classes]).sum(dim=0).add_(along_own[classes])
            if ctx.unit:
                g.mul_(inverse_norm)
            if dx is not None:
                dx.addmm_(g, w)
            if dweight is not None:
                dw = torch.mm(g.T, x, out=dweight[classes])
                if ctx.unit:
                    # What points along a unit weight is taken out: it can only turn.
                    dw.addcmul_(w, (along * inverse_norm.square())[:, None], value=-1.0)
        if ctx.own is not None and dweight is not None and not ctx.unit:
            dweight.index_add_(0, labels, weight_norm_gradient[:, None] * F.normalize(weight[labels]))
        return dx, dweight, None, None, None


class _OwnLogits(NamedTuple):
    """What a margin made of the own class's products: a graph of its own, of a few numbers a sample."""

    products: Tensor
    norms: Tensor
    weight_norms: Tensor
    logits: Tensor

    @classmethod
    def of(cls, products: Tensor, x: Tensor, own_weight: Tensor, margin: Margin, *, unit: bool) -> _OwnLogits:
        norms, weight_norms = (torch.linalg.vector_norm(rows, dim=1) for rows in (x, own_weight))
        if unit:
            weight_norms = torch.ones_like(weight_norms)
        with torch.enable_grad():
            products, norms, weight_norms = (
                leaf.detach().clone().requires_grad_() for leaf in (products, norms, weight_norms)
            )
            return cls(products, norms, weight_norms, margin(products, norms, weight_norms))

    def gradients(self, gradient: Tensor, labels: Tensor) -> list[Tensor]:
        """Of products, norms and weight norms, each (batch,)."""
        own = gradient.gather(1, labels[:, None]).squeeze(1)
        leaves = (self.products, self.norms, self.weight_norms)
        found = torch.autograd.grad(self.logits, leaves, own, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(own) if each is None else each for each in found]


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
        own_products = products.gather(1, labels[:, None]).squeeze(1)
        dx, down = torch.zeros_like(x), torch.zeros_like(own)
        dweight = torch.empty_like(weight) if weight_needed else None
        for classes in _portions(x, weight):
            w, inverse_norm = weight[classes], inverse_norms[classes]
            inverse_length = inverse_lengths[:, classes]
            g = _set_own(_without_denormals(gradient[:, classes]), labels, classes, None)
            along_logits = g * products[:, classes]
            g.mul_(inverse_length)
            own_gradient += ctx.alpha * g.sum(dim=1)
            # d/dG of (..) (alpha^2 + 1 + 2 alpha G)^(-1/2); at the floor the length stands still.
            shortened = along_logits * inverse_length.square()
            held = inverse_length >= _LONGEST_INVERSE
            shortened.masked_fill_(held, 0.0)
            if dweight is not None:
                # What points along a unit weight is taken out: it can only turn. The part is the sum of each
                # gradient times its product, both of which follow from the logits.
                along = torch.where(held, along_logits, 0.5 * along_logits).sum(dim=0)
                along.add_(shortened.sum(dim=0), alpha=0.5 * (1.0 + ctx.alpha**2))
                along.sub_(own_products @ g, alpha=ctx.alpha).mul_(inverse_norm.square())
            g.mul_(inverse_norm)
            g_length = shortened.mul_(-ctx.alpha * inverse_norm)
            dx.addmm_(g, w)
            down.addmm_(g_length, w)
            if dweight is not None:
                dw = torch.mm(g.T, x, out=dweight[classes]).addmm_(g_length.T, own)
                dw.addcmul_(w, along[:, None], value=-1.0)
        dx.addcmul_(own_gradient[:, None], own)
        if dweight is not None:
            down.addcmul_(own_gradient[:, None], x)
            down.addcmul_(own, torch.linalg.vecdot(down, own)[:, None], value=-1.0)
            dweight.index_add_(0, labels, down.mul_(inverse_norms[labels][:, None]))
        return dx, dweight, None, None


class _GaussianLogDensities(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, means: Tensor, log_variances: Tensor, labels: Tensor, alpha: float
    ) -> tuple[Tensor, Tensor]:
        densities = x.new_empty(len(x), len(means))
        add_densities = _add_diagonal if log_variances.shape[1] > 1 else _add_isotropic
        for classes in _portions(x, means):
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
    for classes in _portions(x, means):
        # The gradient of the distance 1/2 sum (x - mu)^2 / var is minus that of the density.
        g = _set_own(_without_denormals(gradient[:, classes]), labels, classes, None).neg_()
        precision = torch.neg(log_variances[classes]).exp_()
        set_gradients(g, x, means[classes], precision, classes, into)


def _set_isotropic(
    g: Tensor, x: Tensor, mean: Tensor, precision: Tensor, classes: slice, into: _GaussianGradients
) -> None:
    total = g.sum(dim=0)[:, None]
    if into.log_variances is not None:
        cross = torch.linalg.vecdot(g, x @ mean.T, dim=0)[:, None]
        squares = g.T @ x.square().sum(dim=1, keepdim=True) + total * _squared_norms(mean)[:, None]
        spread = (squares - 2.0 * cross) * precision
        torch.sub(mean.shape[1] * total, spread, out=into.log_variances[classes]).mul_(0.5)
    g.mul_(precision.T)
    into.x.addcmul_(x, g.sum(dim=1, keepdim=True)).addmm_(g, mean, alpha=-1.0)
    if into.means is not None:
        torch.mul(mean, total * precision, out=into.means[classes]).addmm_(g.T, x, alpha=-1.0)


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


def _portions(x: Tensor, weight: Tensor) -> Iterator[slice]:
    """All classes, in portions whose weights and logits fit in the cache together."""
    floats = _PORTION.get(x.device.type, _PORTION_ELSEWHERE)
    size = max(_SMALLEST_PORTION, floats // (len(x) + x.shape[1]))
    for start in range(0, len(weight), size):
        yield slice(start, min(start + size, len(weight)))


def _without_denormals(gradient: Tensor) -> Tensor:
    """A copy in which what is too small to matter is zero."""
    return F.hardshrink(gradient, _WORTHLESS)


def _set_own(gradient: Tensor, labels: Tensor, classes: slice, value: Tensor | None) -> Tensor:
    """The gradient of a portion of the classes, at each sample's own class set in place; None: to zero."""
    if len(labels):
        place = labels - classes.start
        rows = ((place >= 0) & (place < gradient.shape[1])).nonzero().squeeze(1)
        gradient[rows, place[rows]] = 0.0 if value is None else value[rows]
    return gradient


def _inverse_norms(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=1).clamp_min_(_SMALLEST_NORM).reciprocal_()


def _squared_norms(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1).square()


def _log_determinants(log_variances: Tensor, means: Tensor) -> Tensor:
    repeats = means.shape[1] // log_variances.shape[1]
    return log_variances.sum(dim=1) * repeats
