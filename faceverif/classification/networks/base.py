"""What every classification network is: pixels in [0, 1] in, raw embeddings out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from data_prep.errors import InputError, first_line
from faceverif.classification.sources import PixelStatistics

# Nets made for 224 pixels halve their input four-fold at once; up to this side they do without.
SMALL_SIDE_PX = 64


class Network(nn.Module):
    """Normalisation of pixels, and layers that turn them into an embedding.

    Normalisation is part of the model, so that attacks work on pixels and nobody can get it wrong.

    Args:
        layers: (batch, C, H, W) normalised -> (batch, embedding_dim).
        shape: C, H, W.
        pixels: mean and standard deviation per channel.

    Raises:
        InputError: images of that shape are too small for the layers.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: nn.Module, *, shape: tuple[int, int, int], pixels: PixelStatistics) -> None:
        super().__init__()
        self.layers = layers
        self.shape = shape
        self.embedding_dim = features_of(layers, shape)
        self.register_buffer("mean", torch.tensor(pixels.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(pixels.std).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Raw embeddings, (batch, embedding_dim), of pixels in [0, 1], (batch, C, H, W)."""
        return self.layers((pixels - self.mean) / self.std)


def features_of(layers: nn.Module, shape: tuple[int, int, int]) -> int:
    """How many numbers the layers give for an image, found by trying.

    Args:
        layers: (batch, C, H, W) -> anything; left in training mode.
        shape: C, H, W.

    Raises:
        InputError: the image is too small.
    """
    layers.eval()
    try:
        with torch.no_grad():
            return layers(torch.zeros(1, *shape)).numel()
    except RuntimeError as error:
        raise InputError(
            "network.name",
            f"must take images of {shape[2]} x {shape[1]} pixels",
            got=f"a network that does not ({first_line(error)})",
            fix="Choose another network for these images.",
        ) from error
    finally:
        layers.train()


def convolution(
    channels: int, width: int, kernel_px: int, *, stride: int = 1, bias: bool = True
) -> nn.Conv2d:
    """A convolution that keeps the side (apart from its stride), with He et al.'s (2015) initialisation."""
    layer = nn.Conv2d(channels, width, kernel_px, stride, padding=kernel_px // 2, bias=bias)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def fully_connected(trunk: nn.Module, shape: tuple[int, int, int], width: int) -> nn.Sequential:
    """The trunk, flattened, and a layer of that width after it; Xavier start."""
    layer = nn.Linear(features_of(trunk, shape), width)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(trunk, nn.Flatten(), layer)


def pooled(trunk: nn.Module, shape: tuple[int, int, int], embedding_dim: int | None) -> nn.Sequential:
    """The trunk with global average pooling, and an embedding layer after it where one is asked for."""
    averaged = nn.Sequential(trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return averaged if embedding_dim is None else fully_connected(averaged, shape, embedding_dim)
