"""LeNet-5, LeCun et al. (1998), as it is built today."""

from __future__ import annotations

from torch import nn

from faceverif.classification.networks.base import fully_connected

_SIDE_PX = 32


def lenet5(*, shape: tuple[int, int, int], embedding_dim: int) -> nn.Module:
    """Two 5 x 5 convolutions and three fully connected layers, of which the head is the last.

    LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998), Fig. 2. As is usual now,
    ReLU and max pooling stand for its sigmoids and weighted averages, and its C3 sees all maps of S2. Images
    below its 32 pixels get a border of two, which brings MNIST's 28 to 32.

    Args:
        shape: C, H, W.
        embedding_dim: units of F6; 84 in the paper.
    """
    padding = 2 if shape[1] < _SIDE_PX else 0
    trunk = nn.Sequential(
        nn.Conv2d(shape[0], 6, 5, padding=padding),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
    hidden = fully_connected(trunk, shape, 120).append(nn.ReLU())
    return fully_connected(hidden, shape, embedding_dim).append(nn.ReLU())
