"""Classification networks: pixels in [0, 1] -> raw embeddings. A new one is a file, a line here, a config."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from faceverif.classification.networks.alexnet import alexnet
from faceverif.classification.networks.base import Network
from faceverif.classification.networks.cifar_resnet import cifar_resnet
from faceverif.classification.networks.convmixer import convmixer
from faceverif.classification.networks.fer_vgg import fer_vgg
from faceverif.classification.networks.lenet5 import lenet5
from faceverif.classification.networks.six_conv import six_conv
from faceverif.classification.networks.strided_conv import strided_conv
from faceverif.classification.networks.torchvision_nets import googlenet, resnet50, resnet101
from faceverif.classification.networks.vgg_like import lsoftmax_net, vgg13

if TYPE_CHECKING:
    from faceverif.classification.network_sections import NetworkConfig
    from faceverif.classification.sources import PixelStatistics

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "six_conv": six_conv,
    "strided_conv": strided_conv,
    "lenet5": lenet5,
    "lsoftmax_net": lsoftmax_net,
    "cifar_resnet": cifar_resnet,
    "vgg13": vgg13,
    "fer_vgg": fer_vgg,
    "alexnet": alexnet,
    "convmixer": convmixer,
    "googlenet": googlenet,
    "resnet50": resnet50,
    "resnet101": resnet101,
}


def build_network(config: NetworkConfig, *, shape: tuple[int, int, int], pixels: PixelStatistics) -> Network:
    """The network that a config describes, freshly initialised from torch's global generator.

    Args:
        config: which, and its settings.
        shape: channels, height and width of an image.
        pixels: what is subtracted from and divided out of an image.

    Raises:
        InputError: the images are too small for it.
    """
    layers = NETWORKS[config.name](shape=shape, **config.model_dump(exclude={"name"}))
    return Network(layers, shape=shape, pixels=pixels)


__all__ = ["NETWORKS", "Network", "build_network"]
