"""The residual nets made for CIFAR, He et al. (2016)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from faceverif.classification.networks.base import convolution, pooled

_WIDTHS = (16, 32, 64)


def cifar_resnet(*, shape: tuple[int, int, int], depth: int, embedding_dim: int | None) -> nn.Module:
    """A convolution and three stages of n basic blocks, 16, 32 and 64 wide, pooled.

    He et al., "Deep Residual Learning" (2016), Sec. 4.2: depth = 6n + 2, shortcuts without parameters
    (option A). The SNR paper's ResNet-22 fits no n: here it is the 20 whose two widening shortcuts are
    1 x 1 convolutions (option B) and counted, 6n + 4, as wide residual nets count.

    Args:
        shape: C, H, W.
        depth: 20, 22, 56 or 110.
        embedding_dim: of a layer after pooling; None: the 64 pooled features.
    """
    projects = depth % 6 == 4
    blocks = (depth - (4 if projects else 2)) // 6
    trunk = _normed(shape[0], 16, stride=1).append(nn.ReLU())
    channels = 16
    for stage, width in enumerate(_WIDTHS):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            trunk.append(BasicBlock(channels, width, stride=stride, projects=projects))
            channels = width
    return pooled(trunk, shape, embedding_dim)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut.

    Args:
        channels: of the input.
        width: of the output.
        stride: of the first convolution.
        projects: where the shape changes, the shortcut is a 1 x 1 convolution; else every second pixel is
            taken and the new channels are zero.
    """

    def __init__(self, channels: int, width: int, *, stride: int, projects: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_normed(channels, width, stride=stride), nn.ReLU(), *_normed(width, width, stride=1)
        )
        self.shortcut: nn.Module = nn.Identity()
        if channels != width and projects:
            self.shortcut = _normed(channels, width, stride=stride, kernel_px=1)
        elif channels != width:
            self.shortcut = Subsampled(stride, width - channels)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, width, height / stride, width / stride)."""
        return F.relu(self.body(features) + self.shortcut(features))


class Subsampled(nn.Module):
    """Every stride-th pixel, and channels of zeros: He et al.'s shortcut without parameters.

    Args:
        stride: in both directions.
        zeros: channels to add.
    """

    def __init__(self, stride: int, zeros: int) -> None:
        super().__init__()
        self.stride, self.zeros = stride, zeros

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, channels + zeros, height / stride, ...)."""
        return F.pad(features[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.zeros))


def _normed(channels: int, width: int, *, stride: int, kernel_px: int = 3) -> nn.Sequential:
    layer = convolution(channels, width, kernel_px, stride=stride, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(width))
