"""Products of embeddings with the weights of all classes, and a margin on that with the own class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from faceverif.heads.portions import inverse_norms_of, portions, set_own, without_denormals

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


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, labels: Tensor | None, margin: Margin | None, unit: bool
    ) -> tuple[Tensor, Tensor]:
        logits = x.new_empty(len(x), len(weight))
        inverse_norms = x.new_ones(len(weight))
        for classes in portions(x, weight):
            w, out = weight[classes], logits[:, classes]
            torch.mm(x, w.T, out=out)
            if unit:
                inverse_norms[classes] = inverse_norms_of(w)
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
        for classes in portions(x, weight):
            w, inverse_norm = weight[classes], inverse_norms[classes]
            g = without_denormals(gradient[:, classes])
            if own_gradient is not None:
                set_own(g, labels, classes, own_gradient)
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
