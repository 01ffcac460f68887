"""The modified VGG net for facial expressions, Khairuddin & Chen (2021)."""

from __future__ import annotations

from torch import nn

from faceverif.classification.networks.base import convolution, fully_connected

_WIDTHS = (64, 128, 256, 512)


def fer_vgg(*, shape: tuple[int, int, int], embedding_dim: int, dropout: float) -> nn.Module:
    """Four stages of two 3 x 3 convolutions and a max pooling, then three fully connected layers.

    "Facial Emotion Recognition: State of the Art Performance on FER2013" gives the stages, and batch
    normalisation and ReLU after each convolution; ReLU and dropout stand after the first two fully connected
    layers, and the head is the third. The widths are VGG's.

    Args:
        shape: C, H, W; 1, 48, 48 on FER2013.
        embedding_dim: units of both fully connected layers.
        dropout: behind each of them.
    """
    layers = nn.Sequential()
    channels = shape[0]
    for width in _WIDTHS:
        for _ in range(2):
            layers.extend([convolution(channels, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU()])
            channels = width
        layers.append(nn.MaxPool2d(2))
    for _ in range(2):
        layers = fully_connected(layers, shape, embedding_dim)
        layers.extend([nn.ReLU(), nn.Dropout(dropout)])
    return layers
