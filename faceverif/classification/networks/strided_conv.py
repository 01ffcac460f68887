"""A small net of strided convolutions, cheap enough to be attacked at every step of its training."""

from __future__ import annotations

from torch import nn

from faceverif.classification.networks.base import fully_connected


def strided_conv(*, shape: tuple[int, int, int], embedding_dim: int, width: int, relu: bool) -> nn.Module:
    """Two 4 x 4 convolutions of stride 2 with ReLU, and an embedding layer.

    Wong & Kolter, "Provable Defenses via the Convex Outer Adversarial Polytope" (2018), MNIST, with 16 and 32
    channels and 100 units; Wong et al. (2020) train it against attacks.

    Args:
        shape: C, H, W.
        embedding_dim: units of the fully connected layer.
        width: channels of the first convolution; the second has twice as many.
        relu: a ReLU on the embedding.
    """
    trunk = nn.Sequential()
    channels = shape[0]
    for filters in (width, 2 * width):
        layer = nn.Conv2d(channels, filters, 4, stride=2, padding=1)
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        trunk.extend((layer, nn.ReLU()))
        channels = filters
    layers = fully_connected(trunk, shape, embedding_dim)
    return layers.append(nn.ReLU()) if relu else layers
