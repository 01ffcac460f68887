"""Products with class weights that are pulled towards each sample's own class, for W-Softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from faceverif.heads.portions import (
    asking_waits,
    inverse_norms_of,
    portions,
    without_autocast,
    without_denormals,
    zero_own,
)
from faceverif.sharding.own_class import OwnClass

# Of the classes: few, as calls cost time; not one, as it would take several temporaries of (batch, classes).
_PORTIONS = 4
# |alpha w_c + w_j|^2 is zero for alpha = 1 and opposite weights; in float32 it is noise below this.
_SMALLEST_SQUARE = 1e-6
_LONGEST_INVERSE = 0.999 * _SMALLEST_SQUARE**-0.5


def biased_weight_products(
    embeddings: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    alpha: float,
    over_processes: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """x . w'_j, each unit weight w_j pulled towards that of the sample's own class.

    w'_j = (alpha w_c + w_j) / |alpha w_c + w_j| with unit w, Eq. 12 of Li & Wang (2020); its product with x
    needs only x . w_j, x . w_c and w_c . w_j.

    Args:
        embeddings: (batch, dim).
        weight: (classes, dim), any norm but zero.
        labels: (batch,); one outside [0, classes) names a class that another process holds.
        alpha: the pull, >= 0.
        over_processes: sums a tensor over the processes that hold the classes together.

    Returns:
        (batch, classes) products; (batch, classes) 1 / |alpha w_c + w_j|, without a gradient; (batch,)
        products with the own class, without a gradient.
    """
    products, inverse_lengths, own_products = _BiasedWeightProducts.apply(
        embeddings, weight, labels, alpha, over_processes
    )
    return products, inverse_lengths, own_products


class _BiasedWeightProducts(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        labels: Tensor,
        alpha: float,
        over_processes: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        at = OwnClass.among(labels, len(weight))
        own = F.normalize(over_processes(at.rows_of(weight)))
        own_products = torch.linalg.vecdot(x, own)
        products = x.new_empty(len(x), len(weight))
        inverse_lengths = torch.empty_like(products)
        inverse_norms = x.new_empty(len(weight))
        for classes in portions(x, weight, at_most=_PORTIONS):
            w, out, inverse_length = weight[classes], products[:, classes], inverse_lengths[:, classes]
            inverse_norms[classes] = inverse_norms_of(w)
            torch.mm(own, w.T, out=inverse_length).mul_(2 * alpha * inverse_norms[classes])
            inverse_length.add_(1 + alpha**2).clamp_min_(_SMALLEST_SQUARE).rsqrt_()
            torch.mm(x, w.T, out=out).mul_(inverse_norms[classes])
            out.add_(own_products[:, None], alpha=alpha).mul_(inverse_length)
        if alpha:  # without a pull nothing was added to the own class's product
            at.put(products, own_products)
        saved = (x, weight, labels, own, own_products, inverse_norms, products, inverse_lengths)
        ctx.save_for_backward(*saved)
        ctx.alpha, ctx.over_processes = alpha, over_processes
        ctx.mark_non_differentiable(inverse_lengths, own_products)
        ctx.set_materialize_grads(False)
        return products, inverse_lengths, own_products

    @staticmethod
    @torch.autograd.function.once_differentiable
    @without_autocast
    def backward(
        ctx: Any, gradient: Tensor | None, *_: None
    ) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        if gradient is None:
            return None, None, None, None, None
        x, weight, labels, own, own_products, inverse_norms, products, inverse_lengths = ctx.saved_tensors
        weight_needed = ctx.needs_input_grad[1]
        at = OwnClass.among(labels, len(weight))
        # Of the products with the sample's own class, which stand in every column.
        own_gradient = at.of(gradient)
        dx, down = torch.zeros_like(x), torch.zeros_like(own)
        dweight = torch.empty_like(weight) if weight_needed else None
        for classes in portions(x, weight, at_most=_PORTIONS):
            w, inverse_norm = weight[classes], inverse_norms[classes]
            inverse_length = inverse_lengths[:, classes]
            g = zero_own(without_denormals(gradient[:, classes]), labels, classes)
            along_logits = g * products[:, classes]
            g.mul_(inverse_length)
            own_gradient += ctx.alpha * g.sum(dim=1)
            # d/dG of (..) (alpha^2 + 1 + 2 alpha G)^(-1/2); at the floor the length stands still.
            shortened = (along_logits * inverse_length).mul_(inverse_length)
            if len(x) and (asking_waits(x) or inverse_length.amax() >= _LONGEST_INVERSE):
                held = inverse_length >= _LONGEST_INVERSE
                shortened.masked_fill_(held, 0.0)
                along_logits.add_(along_logits * held)  # there the whole counts, elsewhere half
            if dweight is not None:
                # What points along a unit weight is taken out: it can only turn. The part is the sum of each
                # gradient times its product, both of which follow from the logits.
                along = 0.5 * along_logits.sum(dim=0)
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
            down = ctx.over_processes(down.addcmul_(own_gradient[:, None], x))
            down.addcmul_(own, torch.linalg.vecdot(down, own)[:, None], value=-1.0)
            down.mul_(torch.where(at.here, inverse_norms[at.place], 0.0)[:, None])
            dweight.index_add_(0, at.place, down)
        return dx, dweight, None, None, None
