"""Interval bound propagation: what a network's outputs can be while every pixel moves by at most epsilon.

Gowal et al., "On the Effectiveness of Interval Bound Propagation" (2018). The bounds hold up to the rounding
of float32; they are loose unless the network was trained for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from faceverif.classification.networks.base import Network
from faceverif.heads import Head
from faceverif.heads.lgm import LGMHead
from faceverif.heads.softmax import SoftmaxHead

# Layers that never decrease where an input grows: the bounds are the outputs at the bounds.
_MONOTONE = (nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity, nn.Dropout)

# Floats of differences between class weights, (batch, classes, dim), that exist at a time.
_PORTION = 2**22


class Unbounded(ValueError):
    """There is no rule for a layer or a head.

    Attributes:
        rule: what it must be.
        got: what it is.
    """

    def __init__(self, rule: str, *, got: str) -> None:
        super().__init__(f"{rule}; got {got}")
        self.rule, self.got = rule, got


class Interval(NamedTuple):
    """Numbers between bounds.

    Attributes:
        low, high: of the same shape; low <= high.
    """

    low: Tensor
    high: Tensor

    @property
    def middle(self) -> Tensor:
        """Half way."""
        return (self.low + self.high) / 2

    @property
    def radius(self) -> Tensor:
        """From the middle to either bound."""
        return (self.high - self.low) / 2


def around(pixels: Tensor, *, epsilon: float) -> Interval:
    """All images within epsilon (linf) of these, (N, C, H, W), that lie in [0, 1]."""
    return Interval((pixels - epsilon).clamp_min(0.0), (pixels + epsilon).clamp_max(1.0))


def bounded(layer: nn.Module, inside: Interval) -> Interval:
    """Bounds of a layer's output for all inputs between bounds.

    Args:
        layer: in evaluation mode.
        inside: of its input.

    Raises:
        Unbounded: a layer without a rule.
    """
    if isinstance(layer, nn.Sequential):
        for part in layer:
            inside = bounded(part, inside)
        return inside
    if isinstance(layer, Network):
        return bounded(layer.layers, Interval(*((side - layer.mean) / layer.std for side in inside)))
    if isinstance(layer, _MONOTONE):
        return Interval(layer(inside.low), layer(inside.high))
    rule = next((rule for kind, rule in _RULES.items() if isinstance(layer, kind)), None)
    if rule is None:
        parts = "convolutions, linear layers, batch normalisations, poolings, ReLU and PReLU"
        raise Unbounded(f"must be made of {parts}", got=type(layer).__name__)
    return rule(layer, inside)


def least_margins(model: nn.Module, head: Head, inside: Interval, labels: Tensor) -> Tensor:
    """The least that the true logit can exceed each other one by, (N, classes); 0 at the true class.

    The difference of two logits is linear in the embedding, so it is bounded as one layer (Gowal et al.,
    Sec. 3). The differences are of every image with every class; they exist for a portion of the classes at a
    time, and in training the backward pass makes them again.

    Args:
        model: pixels -> embeddings, in evaluation mode.
        head: softmax, or L-GM with an identity covariance.
        inside: of the pixels.
        labels: (N,) the true classes.

    Raises:
        Unbounded: a layer without a rule, or another head.
    """
    weight, bias = linear_form(head)
    embeddings = bounded(model, inside)
    own, ends = weight[labels], (embeddings.middle, embeddings.radius)
    portions = weight.split(max(1, _PORTION // max(1, own.numel())))
    if len(portions) == 1:
        margins = _least_without_bias(own, weight, *ends)
    else:
        parts = [
            checkpoint(_least_without_bias, own, others, *ends, use_reentrant=False, preserve_rng_state=False)
            for others in portions
        ]
        margins = torch.cat(parts, dim=1)
    return margins + bias[labels][:, None] - bias


def _least_without_bias(own: Tensor, others: Tensor, middle: Tensor, radius: Tensor) -> Tensor:
    """The least of (own - other) . x within bounds, (batch, others); of (batch, dim) and (others, dim)."""
    differences = own[:, None] - others
    least = torch.einsum("nkd,nd->nk", differences, middle)
    return least - torch.einsum("nkd,nd->nk", differences.abs(), radius)


def linear_form(head: Head) -> tuple[Tensor, Tensor]:
    """Weight (classes, dim) and bias (classes,) of the head's logits, up to a part that all classes share.

    Of L-GM with one variance for all, -1/2 |x - mu_k|^2 is mu_k x - 1/2 |mu_k|^2 and such a part.

    Raises:
        Unbounded: the head has no such form.
    """
    if isinstance(head, SoftmaxHead):
        return head.weight, head.bias
    if isinstance(head, LGMHead) and head.whitening is None and not head.log_variances.any():
        return head.means, -0.5 * head.means.square().sum(dim=1)
    raise Unbounded("must have a softmax head, or L-GM with covariance: identity", got=type(head).__name__)


def _linear(layer: nn.Module, inside: Interval) -> Interval:
    assert isinstance(layer, nn.Linear)
    return _spread(layer(inside.middle), F.linear(inside.radius, layer.weight.abs()))


def _convolution(layer: nn.Module, inside: Interval) -> Interval:
    assert isinstance(layer, nn.Conv2d)
    # The layer itself, without bias and with absolute weights: it knows its padding and stride.
    radius = layer._conv_forward(inside.radius, layer.weight.abs(), None)
    return _spread(layer(inside.middle), radius)


def _normalisation(layer: nn.Module, inside: Interval) -> Interval:
    assert isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))
    assert layer.running_var is not None  # a layer without running statistics has no evaluation mode
    scale = (layer.running_var + layer.eps).rsqrt()
    if layer.affine:
        scale = scale * layer.weight.abs()
    shape = (-1, *[1] * (inside.low.ndim - 2))
    return _spread(layer(inside.middle), inside.radius * scale.reshape(shape))


def _prelu(layer: nn.Module, inside: Interval) -> Interval:
    """With a negative slope the least is 0 where the interval holds 0."""
    ends = torch.stack([layer(side) for side in inside])
    holds_zero = (inside.low <= 0) & (inside.high >= 0)
    low = torch.where(holds_zero, ends.amin(dim=0).clamp_max(0.0), ends.amin(dim=0))
    return Interval(low, ends.amax(dim=0))


def _spread(middle: Tensor, radius: Tensor) -> Interval:
    return Interval(middle - radius, middle + radius)


_RULES: dict[type[nn.Module] | tuple[type[nn.Module], ...], Callable[[nn.Module, Interval], Interval]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    (nn.BatchNorm1d, nn.BatchNorm2d): _normalisation,
    nn.PReLU: _prelu,
}
