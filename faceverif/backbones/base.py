"""What every backbone is: pixels in [0, 1] in, raw embeddings out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Backbone(nn.Module):
    """A trunk of convolutions and the layer that turns its features into an embedding.

    Normalisation is part of the model, so that nobody who loads it can get it wrong. The trunk sees pixels in
    [-1, 1] unless `normalise_pixels` says otherwise.

    Args:
        trunk: (batch, 3, input_px, input_px), normalised -> features of any shape.
        embed: features -> (batch, embedding_dim).
        embedding_dim: length of an embedding.
        input_px: side of the square input.
    """

    pixel_gain: Tensor
    pixel_offset: Tensor

    def __init__(self, trunk: nn.Module, embed: nn.Module, *, embedding_dim: int, input_px: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.embed = embed
        self.embedding_dim = embedding_dim
        self.input_px = input_px
        self.normalise_pixels(mean=(0.5,) * 3, std=(0.5,) * 3)

    def normalise_pixels(self, *, mean: Sequence[float], std: Sequence[float]) -> None:
        """Let the trunk see (pixels - mean) / std.

        Args:
            mean: of red, green and blue, on the scale of [0, 1].
            std: likewise, > 0.
        """
        # Part of the config, not of the weights. As a factor and an offset, (0.5, 0.5) is exactly 2 x - 1.
        gain, offset = (torch.tensor(values).view(1, 3, 1, 1) for values in _affine(mean, std))
        self.register_buffer("pixel_gain", gain, persistent=False)
        self.register_buffer("pixel_offset", offset, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Raw embeddings, (batch, embedding_dim), of RGB pixels in [0, 1], (batch, 3, input_px, input_px)."""
        return self.embed(self.trunk(pixels * self.pixel_gain + self.pixel_offset))


def _affine(mean: Sequence[float], std: Sequence[float]) -> tuple[list[float], list[float]]:
    return [1 / scale for scale in std], [-centre / scale for centre, scale in zip(mean, std, strict=True)]


def halved(side_px: int, *, times: int) -> int:
    """Side of a feature map after that many 3 x 3 convolutions of stride 2 and padding 1."""
    return math.ceil(side_px / 2**times)
