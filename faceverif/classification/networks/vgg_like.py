"""Plain stacks of 3 x 3 convolutions: the nets of the L-Softmax paper, and L-GM's on CIFAR-100."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from torch import nn

from faceverif.backbones.last_layers import last_layers as behind
from faceverif.backbones.prelu import PReLU
from faceverif.classification.networks.base import convolution, fully_connected, pooled

if TYPE_CHECKING:
    from faceverif.config.backbones import LastLayers


class _Plan(NamedTuple):
    """Attributes: width of the first convolution; width of each stage; convolutions in each stage."""

    stem: int
    widths: tuple[int, int, int]
    convolutions: int


_PLANS = {
    "mnist": _Plan(64, (64, 64, 64), 3),
    "cifar10": _Plan(64, (64, 96, 128), 4),
    "cifar100": _Plan(96, (96, 192, 384), 4),
}


def lsoftmax_net(
    *,
    shape: tuple[int, int, int],
    variant: Literal["mnist", "cifar10", "cifar100"],
    embedding_dim: int,
    last_layers: LastLayers,
) -> nn.Module:
    """A net of Liu et al. (2016), Table 1: a convolution, three stages with max pooling, an embedding layer.

    Batch normalisation stands after PReLU, and weights start as Xavier says: Li & Wang (2020), Sec. 5.1.

    Args:
        shape: C, H, W.
        variant: the paper's column: 10, 13 and 13 convolutions.
        embedding_dim: 256, 256 and 512 in the paper.
        last_layers: behind the embedding layer; PReLU and batch normalisation in Li & Wang (2020).
    """
    stages = _stages(_PLANS[variant], shape[0], norm_first=False)
    for layer in stages:
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
    layers = fully_connected(stages, shape, embedding_dim)
    return layers.extend(behind(last_layers, embedding_dim))


def vgg13(*, shape: tuple[int, int, int], embedding_dim: int | None) -> nn.Module:
    """The 13-convolution net of Wan et al. (2018), Sec. 4.1: that of Liu et al. for CIFAR-100, pooled.

    Global average pooling stands for its fully connected layer, batch normalisation after each convolution.

    Args:
        shape: C, H, W.
        embedding_dim: of a layer after pooling; None: the 384 pooled features.
    """
    return pooled(_stages(_PLANS["cifar100"], shape[0], norm_first=True), shape, embedding_dim)


def _stages(plan: _Plan, channels: int, *, norm_first: bool) -> nn.Sequential:
    layers = _block(channels, plan.stem, norm_first=norm_first)
    channels = plan.stem
    for width in plan.widths:
        for _ in range(plan.convolutions):
            layers.extend(_block(channels, width, norm_first=norm_first))
            channels = width
        layers.append(nn.MaxPool2d(2))
    return layers


def _block(channels: int, width: int, *, norm_first: bool) -> nn.Sequential:
    norm, activation = nn.BatchNorm2d(width), PReLU(width)
    after = (norm, activation) if norm_first else (activation, norm)
    return nn.Sequential(convolution(channels, width, 3, bias=False), *after)
