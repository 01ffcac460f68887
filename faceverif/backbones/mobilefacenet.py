"""MobileFaceNet, Chen et al. (2018)."""

from __future__ import annotations

from torch import Tensor, nn

from faceverif.backbones.base import Backbone, halved
from faceverif.backbones.prelu import PReLU

# Table 1 of the paper: expansion, channels, blocks, stride of the first block.
_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


def mobilefacenet(
    *, channel_scale: int, expand: str, embedding_dim: int, input_px: int, dropout: float
) -> Backbone:
    """Inverted bottlenecks with PReLU and a learned, depthwise global pooling.

    Chen et al., "MobileFaceNets" (2018), Table 1. The paper counts 0.99 million parameters at 112 pixels;
    ours are 0.99 million up to the pooled 512 features, and the layer down to 128 dimensions adds 0.07.

    Args:
        channel_scale: 1 in the paper. InsightFace has 2: twice the channels between the blocks, not in them.
        expand: what Table 1's factor t multiplies: a block's `output` channels, or its `input` channels as in
            MobileNetV2 and InsightFace. They differ where a block widens.
        embedding_dim: 128 in the paper.
        input_px: 112 in the paper; the pooling kernel follows it.
        dropout: share of the pooled features that is dropped in training (not in the paper).
    """
    stem, channels = 64 * channel_scale, 64
    trunk = nn.Sequential(
        _convolution(3, stem, kernel=3, stride=2),
        PReLU(stem),
        _convolution(stem, stem, kernel=3, groups=64),
        PReLU(stem),
    )
    for expansion, width, blocks, stride in _STAGES:
        for block in range(blocks):
            trunk.append(
                _Bottleneck(
                    channels * channel_scale,
                    width * channel_scale,
                    wide=expansion * (width if expand == "output" else channels),
                    stride=stride if block == 0 else 1,
                )
            )
            channels = width
    trunk.extend([_convolution(channels * channel_scale, 512, kernel=1), PReLU(512)])
    embed = nn.Sequential(
        nn.Conv2d(512, 512, halved(input_px, times=4), groups=512, bias=False),
        nn.BatchNorm2d(512),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(512, embedding_dim, bias=False),
        nn.BatchNorm1d(embedding_dim),
    )
    backbone = Backbone(trunk, embed, embedding_dim=embedding_dim, input_px=input_px)
    backbone.apply(_initialise)
    return backbone


class _Bottleneck(nn.Module):
    """Widen by 1 x 1, filter each channel by 3 x 3, narrow by 1 x 1 without activation."""

    def __init__(self, channels: int, width: int, *, wide: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(channels, wide, kernel=1),
            PReLU(wide),
            _convolution(wide, wide, kernel=3, stride=stride, groups=wide),
            PReLU(wide),
            _convolution(wide, width, kernel=1),
        )
        self.residual = stride == 1 and channels == width

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features) if self.residual else self.body(features)


def _convolution(
    channels: int, width: int, *, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width),
    )


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="linear")
