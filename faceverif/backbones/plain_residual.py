"""The residual block of face nets that carry no batch normalisation."""

from __future__ import annotations

from torch import Tensor, nn

from faceverif.backbones.prelu import PReLU


class PlainBlock(nn.Module):
    """x + PReLU(conv(PReLU(conv(x)))): without batch norm the depth is carried by a small start.

    The convolutions start from a Gaussian of 0.01, as in the authors' Caffe files, so that every block begins
    close to the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*convolution(channels, channels), *convolution(channels, channels))
        for layer in self.body:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, height, width), unchanged in shape."""
        return features + self.body(features)


def convolution(channels: int, width: int, *, stride: int = 1) -> tuple[nn.Conv2d, PReLU]:
    """A biased 3 x 3 convolution and its PReLU; Xavier start, as in Caffe's face nets."""
    layer = nn.Conv2d(channels, width, 3, stride, padding=1)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.get_parameter("bias"))
    return layer, PReLU(width)


def fully_connected(features: int, embedding_dim: int, *, dropout: float) -> nn.Sequential:
    """Flatten, drop out, project to the embedding; Xavier start."""
    layer = nn.Linear(features, embedding_dim)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.get_parameter("bias"))
    return nn.Sequential(nn.Flatten(), nn.Dropout(dropout), layer)
