"""The Inception-ResNet of facenet-pytorch, after Szegedy et al. (2017)."""

from __future__ import annotations

from torch import nn

from faceverif.backbones.base import Backbone

# What follows the last convolution of facenet-pytorch's network, and what it ends with.
_FEATURES, _NORM_EPS = 1792, 0.001
_AFTER_TRUNK = ("avgpool_1a", "dropout", "last_linear", "last_bn")


def inception_resnet_v1(*, embedding_dim: int, input_px: int, dropout: float) -> Backbone:
    """facenet-pytorch's own convolutions, without the L2 normalisation at the end.

    Args:
        embedding_dim: 512 there.
        input_px: 160 there; the pooling takes other sizes too.
        dropout: share of the pooled features that is dropped in training; 0.6 there.
    """
    from facenet_pytorch import InceptionResnetV1  # brings torchvision, which takes seconds

    trunk, embed = nn.Sequential(), nn.Sequential()
    for name, layer in InceptionResnetV1().named_children():
        if name not in _AFTER_TRUNK:
            trunk.add_module(name, layer)
    embed.add_module("avgpool_1a", nn.AdaptiveAvgPool2d(1))
    embed.add_module("flatten", nn.Flatten())
    embed.add_module("dropout", nn.Dropout(dropout))
    embed.add_module("last_linear", nn.Linear(_FEATURES, embedding_dim, bias=False))
    embed.add_module("last_bn", nn.BatchNorm1d(embedding_dim, eps=_NORM_EPS))
    return Backbone(trunk, embed, embedding_dim=embedding_dim, input_px=input_px)
