"""GoogLeNet and the bottleneck ResNets, by torchvision, fitted to small images."""

from __future__ import annotations

from torch import nn

from faceverif.classification.networks.base import SMALL_SIDE_PX, convolution, fully_connected


def googlenet(*, shape: tuple[int, int, int], embedding_dim: int | None) -> nn.Module:
    """GoogLeNet, Szegedy et al. (2015), with batch normalisation and without auxiliary classifiers.

    Up to 64 pixels its first convolution is 3 x 3 with stride 1 and its first pooling is left out: else 32
    pixels would end as one.

    Args:
        shape: C, H, W.
        embedding_dim: of a layer after pooling; None: the 1,024 pooled features.
    """
    from torchvision.models import GoogLeNet
    from torchvision.models.googlenet import BasicConv2d

    trunk = GoogLeNet(aux_logits=False, init_weights=False)
    if shape[1] <= SMALL_SIDE_PX:
        trunk.conv1 = BasicConv2d(shape[0], 64, kernel_size=3, padding=1)
        trunk.maxpool1 = nn.Identity()
    elif shape[0] != 3:
        trunk.conv1 = BasicConv2d(shape[0], 64, kernel_size=7, stride=2, padding=3)
    trunk.fc = nn.Identity()
    return trunk if embedding_dim is None else fully_connected(trunk, shape, embedding_dim)


def resnet50(*, shape: tuple[int, int, int], embedding_dim: int | None) -> nn.Module:
    """ResNet-50; see `_resnet`."""
    return _resnet((3, 4, 6, 3), shape, embedding_dim)


def resnet101(*, shape: tuple[int, int, int], embedding_dim: int | None) -> nn.Module:
    """ResNet-101; see `_resnet`."""
    return _resnet((3, 4, 23, 3), shape, embedding_dim)


def _resnet(
    blocks: tuple[int, int, int, int], shape: tuple[int, int, int], embedding_dim: int | None
) -> nn.Module:
    """A bottleneck ResNet, He et al. (2016), Table 1.

    Up to 64 pixels its first convolution is 3 x 3 with stride 1, and there is no pooling after it.

    Args:
        blocks: of each stage.
        shape: C, H, W.
        embedding_dim: of a layer after pooling; None: the 2,048 pooled features.
    """
    from torchvision.models.resnet import Bottleneck, ResNet

    trunk = ResNet(Bottleneck, list(blocks))
    if shape[1] <= SMALL_SIDE_PX:
        trunk.conv1 = convolution(shape[0], 64, 3, bias=False)
        trunk.maxpool = nn.Identity()
    elif shape[0] != 3:
        trunk.conv1 = convolution(shape[0], 64, 7, stride=2, bias=False)
    trunk.fc = nn.Identity()
    return trunk if embedding_dim is None else fully_connected(trunk, shape, embedding_dim)
