"""AlexNet, in the form used on CIFAR: no batch normalisation."""

from __future__ import annotations

from torch import nn

from faceverif.classification.networks.base import convolution, fully_connected


def alexnet(*, shape: tuple[int, int, int], embedding_dim: int | None) -> nn.Module:
    """Five convolutions with ReLU and three max poolings; its large hidden layers are left out.

    Krizhevsky, "One weird trick" (2014), shrunk to small images as usual for CIFAR-10: pooling is 2 x 2, and
    the 256 features of the last one, a single pixel at side 32, go to the classifier. This is the AlexNet
    without batch normalisation of the GSC paper, as far as that says.

    Args:
        shape: C, H, W.
        embedding_dim: of a layer after the last pooling; None: its features.
    """
    trunk = nn.Sequential(
        convolution(shape[0], 64, 11, stride=4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        convolution(64, 192, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        convolution(192, 384, 3),
        nn.ReLU(),
        convolution(384, 256, 3),
        nn.ReLU(),
        convolution(256, 256, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    return trunk if embedding_dim is None else fully_connected(trunk, shape, embedding_dim)
