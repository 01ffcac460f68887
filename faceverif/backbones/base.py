"""What every backbone is: pixels in [0, 1] in, raw embeddings out."""

from __future__ import annotations

import math

from torch import Tensor, nn


class Backbone(nn.Module):
    """A trunk of convolutions and the layer that turns its features into an embedding.

    Normalisation is part of the model, so that nobody who loads it can get it wrong.

    Args:
        trunk: (batch, 3, input_px, input_px) in [-1, 1] -> features of any shape.
        embed: features -> (batch, embedding_dim).
        embedding_dim: length of an embedding.
        input_px: side of the square input.
    """

    def __init__(self, trunk: nn.Module, embed: nn.Module, *, embedding_dim: int, input_px: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.embed = embed
        self.embedding_dim = embedding_dim
        self.input_px = input_px

    def forward(self, pixels: Tensor) -> Tensor:
        """Raw embeddings, (batch, embedding_dim), of RGB pixels in [0, 1], (batch, 3, input_px, input_px)."""
        return self.embed(self.trunk(pixels * 2.0 - 1.0))


def halved(side_px: int, *, times: int) -> int:
    """Side of a feature map after that many 3 x 3 convolutions of stride 2 and padding 1."""
    return math.ceil(side_px / 2**times)
