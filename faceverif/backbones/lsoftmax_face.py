"""The plain 17-convolution face net of the L-Softmax and W-Softmax papers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from faceverif.backbones.base import Backbone, halved
from faceverif.backbones.last_layers import last_layers as behind
from faceverif.backbones.plain_residual import fully_connected
from faceverif.backbones.prelu import PReLU

if TYPE_CHECKING:
    from faceverif.config.backbones import LastLayers

_STEM, _WIDTHS, _CONVOLUTIONS = 64, (64, 128, 256, 256), 4


def lsoftmax_face(*, embedding_dim: int, input_px: int, dropout: float, last_layers: LastLayers) -> Backbone:
    """A convolution of stride 2, four stages of four convolutions, each with max pooling, and an embedding.

    Li & Wang (2020), Table 3, take the net of Liu et al. (2016) with 17 convolutions, with PReLU and batch
    normalisation after it. They print no widths; these are ours.

    Args:
        embedding_dim: 512 in the paper.
        input_px: 160 in the paper; the fully connected layer follows it.
        dropout: share of the flattened features that is dropped in training (none in the paper).
        last_layers: behind the fully connected layer.
    """
    trunk = nn.Sequential(*_convolution(3, _STEM, stride=2))
    channels = _STEM
    for width in _WIDTHS:
        for _ in range(_CONVOLUTIONS):
            trunk.extend(_convolution(channels, width))
            channels = width
        trunk.append(nn.MaxPool2d(2, ceil_mode=True))
    side_px = halved(input_px, times=1 + len(_WIDTHS))
    embed = fully_connected(channels * side_px**2, embedding_dim, dropout=dropout)
    embed.extend(behind(last_layers, embedding_dim))
    return Backbone(trunk, embed, embedding_dim=embedding_dim, input_px=input_px)


def _convolution(channels: int, width: int, *, stride: int = 1) -> tuple[nn.Module, ...]:
    layer = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
    nn.init.xavier_uniform_(layer.weight)
    return layer, PReLU(width), nn.BatchNorm2d(width)
