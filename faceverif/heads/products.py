"""Products of embeddings with the weights of all classes, and a margin on that with the own class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from faceverif.heads.portions import inverse_norms_of, without_autocast, without_denormals
from faceverif.sharding.own_class import OwnClass

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
    products, _ = _Products.apply(embeddings, weight, None, None, False, None)
    return products


def unit_weight_products(embeddings: Tensor, weight: Tensor) -> Tensor:
    """x . w_j / |w_j| of every embedding with every class.

    Args:
        embeddings: (batch, dim).
        weight: (classes, dim), any norm but zero.

    Returns:
        (batch, classes).
    """
    products, _ = _Products.apply(embeddings, weight, None, None, True, None)
    return products


def products_with_margin(
    embeddings: Tensor,
    weight: Tensor,
    labels: Tensor,
    margin: Margin,
    *,
    unit_weight: bool,
    norms: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Products with every class, that of the own class put through a margin.

    Args:
        embeddings: (batch, dim).
        weight: (classes, dim).
        labels: (batch,); one outside [0, classes) names a class that is not among these.
        margin: maps (batch,) products with the own class, norms of the embeddings and norms of the own
            class's weight to (batch,) logits, each from the numbers of its own sample alone and from the
            product at least; gradients flow through all three. With unit weights the last are ones.
        unit_weight: take the class weights as unit vectors.
        norms: (batch,) what the margin takes for the norms of the embeddings, such as those before they were
            scaled; gradients flow to them. None: the norms.

    Returns:
        (batch, classes) logits; (batch,) products with the own class, zero where it is not among these,
        without a gradient.
    """
    logits, own = _Products.apply(embeddings, weight, labels, margin, unit_weight, norms)
    return logits, own


class _Products(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        labels: Tensor | None,
        margin: Margin | None,
        unit: bool,
        norms: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        # Before the product, which then finds the weights in the cache.
        inverse_norms = inverse_norms_of(weight) if unit else None
        logits = x @ weight.T
        if inverse_norms is not None:
            logits.mul_(inverse_norms)
        own, ctx.own = x.new_empty(0), None
        if labels is not None and margin is not None:
            at = OwnClass.among(labels, len(weight))
            own = at.of(logits)
            lengths = torch.linalg.vector_norm(x, dim=1) if norms is None else norms
            ctx.own = _OwnLogits.of(at, own, lengths, None if unit else weight[at.place], margin)
            at.put(logits, ctx.own.logits)
        kept = logits if unit and ctx.needs_input_grad[1] else None
        ctx.save_for_backward(x, weight, inverse_norms, kept)
        ctx.own_norms = norms is None
        ctx.mark_non_differentiable(own)
        ctx.set_materialize_grads(False)
        return logits, own

    @staticmethod
    @torch.autograd.function.once_differentiable
    @without_autocast
    def backward(
        ctx: Any, gradient: Tensor | None, _: None
    ) -> tuple[Tensor | None, Tensor | None, None, None, None, Tensor | None]:
        if gradient is None:
            return None, None, None, None, None, None
        x, weight, inverse_norms, logits = ctx.saved_tensors
        own: _OwnLogits | None = ctx.own
        x_needed, weight_needed = ctx.needs_input_grad[:2]
        dx, dweight, dnorms = None, None, None
        g = without_denormals(gradient)
        if own is not None:
            own_gradient = own.at.of(gradient)
            product_gradient = own_gradient * own.slope
            own.at.put(g, product_gradient)
        if inverse_norms is not None:
            if weight_needed:
                # What points along a unit weight is taken out: it can only turn.
                along = (g * logits).sum(dim=0)
                if own is not None:
                    along.index_add_(0, own.at.place, product_gradient * (own.products - own.logits))
                dweight = weight * along.mul_(-inverse_norms.square())[:, None]
            g.mul_(inverse_norms)
        if weight_needed:
            dweight = g.T @ x if dweight is None else dweight.addmm_(g.T, x)
            if own is not None and own.weight_norm_slope is not None:
                longer = (own_gradient * own.weight_norm_slope)[:, None]
                dweight.index_add_(0, own.at.place, longer * F.normalize(weight[own.at.place]))
        if own is not None and own.norm_slope is not None:
            dnorms = own_gradient * own.norm_slope
        if x_needed:
            dx = g @ weight
            if dnorms is not None and ctx.own_norms:
                dx.addcmul_(dnorms[:, None], F.normalize(x))
        return dx, dweight, None, None, None, None if ctx.own_norms else dnorms


class _OwnLogits(NamedTuple):
    """What a margin made of the products with the own class, each (batch,) and without a graph.

    Attributes:
        at: where the own classes are.
        products: what went in.
        logits: what came out.
        slope: of the logits against the products.
        norm_slope: against the embeddings' norms; None: the margin does not look at them.
        weight_norm_slope: against the class weights' norms; None likewise, or for unit weights.
    """

    at: OwnClass
    products: Tensor
    logits: Tensor
    slope: Tensor
    norm_slope: Tensor | None
    weight_norm_slope: Tensor | None

    @classmethod
    def of(
        cls, at: OwnClass, products: Tensor, norms: Tensor, own_weight: Tensor | None, margin: Margin
    ) -> _OwnLogits:
        """With the weight of each sample's own class, (batch, dim); None: unit vectors."""
        weight_norms = torch.ones_like(norms)
        if own_weight is not None:
            weight_norms = torch.linalg.vector_norm(own_weight, dim=1)
        # Copies, since the products are also returned; a graph of their own, also where inference has none.
        with torch.inference_mode(False), torch.enable_grad():
            leaves = tuple(leaf.detach().clone().requires_grad_() for leaf in (products, norms, weight_norms))
            logits = margin(*leaves)
            slope, norm_slope, weight_norm_slope = torch.autograd.grad(
                logits.sum(), leaves, allow_unused=True
            )
        of_weight = None if own_weight is None else weight_norm_slope
        return cls(at, leaves[0].detach(), logits.detach(), slope, norm_slope, of_weight)
