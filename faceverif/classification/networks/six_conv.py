"""The six-convolution MNIST net of the center-loss, L-Softmax and L-GM papers."""

from __future__ import annotations

from torch import nn

from faceverif.backbones.prelu import PReLU
from faceverif.classification.networks.base import convolution, fully_connected

_WIDTHS = (32, 64, 128)


def six_conv(*, shape: tuple[int, int, int], embedding_dim: int, relu: bool) -> nn.Module:
    """Three pairs of 5 x 5 convolutions with PReLU, each halved by max pooling, and an embedding layer.

    Wen et al., "A Discriminative Feature Learning Approach" (2016), Table 1 (LeNets++), which Wan et al.
    (2018) follow. Pooling rounds up, as Caffe's does, so that 28 pixels end as 4 x 4.

    Args:
        shape: C, H, W.
        embedding_dim: 2 to draw, 100 to compare.
        relu: a ReLU on the embedding.
    """
    trunk = nn.Sequential()
    channels = shape[0]
    for width in _WIDTHS:
        trunk.extend((convolution(channels, width, 5), PReLU(width)))
        trunk.extend((convolution(width, width, 5), PReLU(width)))
        trunk.append(nn.MaxPool2d(2, ceil_mode=True))
        channels = width
    layers = fully_connected(trunk, shape, embedding_dim)
    return layers.append(nn.ReLU()) if relu else layers
