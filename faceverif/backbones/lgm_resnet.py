"""The 27-convolution residual net of the L-GM and center-loss papers: PReLU, no batch normalisation."""

from __future__ import annotations

from torch import nn

from faceverif.backbones.base import Backbone
from faceverif.backbones.plain_residual import PlainBlock, convolution, fully_connected

# Width and residual blocks of each stage after the stem; every stage starts with a pooling by two.
_STAGES = ((64, 1), (128, 2), (256, 5), (512, 3))


def lgm_resnet(*, embedding_dim: int, input_px: int, dropout: float) -> Backbone:
    """Two stem convolutions, then stages of 1, 2, 5 and 3 residual blocks behind max pooling.

    Wan et al., "Rethinking Feature Distribution for Loss Functions" (2018), Sec. 4.2, gives the 27
    convolutions, the PReLUs and the absence of batch norm and dropout; the arrangement is that of the
    center-loss net, Wen et al. (2016): 2 + 2 x (1 + 2 + 5 + 3) + 3 = 27. Ours pads every convolution, so that
    sides halve.

    Args:
        embedding_dim: 512 in the paper.
        input_px: 120 in the paper; the fully connected layer follows it.
        dropout: share of the flattened features that is dropped in training (none in the paper).
    """
    trunk = nn.Sequential(*convolution(3, 32))
    channels = 32
    for width, blocks in _STAGES:
        trunk.extend(convolution(channels, width))
        trunk.append(nn.MaxPool2d(2))
        trunk.extend(PlainBlock(width) for _ in range(blocks))
        channels = width
    embed = fully_connected(512 * (input_px // 16) ** 2, embedding_dim, dropout=dropout)
    return Backbone(trunk, embed, embedding_dim=embedding_dim, input_px=input_px)
