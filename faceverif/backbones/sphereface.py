"""SphereFace nets, Liu et al. (2017): PReLU, no batch normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from faceverif.backbones.base import Backbone, halved
from faceverif.backbones.last_layers import last_layers as behind
from faceverif.backbones.plain_residual import PlainBlock, convolution, fully_connected

if TYPE_CHECKING:
    from faceverif.config.backbones import LastLayers

_BLOCKS = {20: (1, 2, 4, 1), 36: (2, 4, 8, 2), 64: (3, 8, 16, 3)}
_WIDTHS = (64, 128, 256, 512)


def sphereface(
    *, depth: int, embedding_dim: int, input_px: int, dropout: float, last_layers: LastLayers
) -> Backbone:
    """Four stages, each a convolution of stride 2 and residual blocks; depth counts the convolutions.

    Liu et al., "SphereFace" (2017), Table 2. The paper's input is 112 x 96; ours is square, so only the
    fully connected layer is larger.

    Args:
        depth: 20, 36 or 64.
        embedding_dim: 512 in the paper.
        input_px: side of the input; the fully connected layer follows it.
        dropout: share of the flattened features that is dropped in training (none in the paper).
        last_layers: behind the fully connected layer.
    """
    trunk = nn.Sequential()
    channels = 3
    for width, blocks in zip(_WIDTHS, _BLOCKS[depth], strict=True):
        trunk.extend(convolution(channels, width, stride=2))
        trunk.extend(PlainBlock(width) for _ in range(blocks))
        channels = width
    embed = fully_connected(512 * halved(input_px, times=4) ** 2, embedding_dim, dropout=dropout)
    embed.extend(behind(last_layers, embedding_dim))
    return Backbone(trunk, embed, embedding_dim=embedding_dim, input_px=input_px)
