"""iResNet, the residual net of ArcFace, Deng et al. (2019)."""

from __future__ import annotations

from torch import Tensor, nn

from faceverif.backbones.base import Backbone, halved
from faceverif.backbones.lengthening import LengtheningNorm
from faceverif.backbones.prelu import PReLU

# Blocks of the four stages, by depth; 200 is InsightFace's.
BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
    200: (6, 26, 60, 6),
}


def iresnet(
    *,
    depth: int,
    width: int,
    stem_stride: int,
    shortcut: str,
    embedding_dim: int,
    input_px: int,
    dropout: float,
    last_norm: str = "plain",
) -> Backbone:
    """ResNet-IR with the "E" output: a full-resolution stem, pre-normalised blocks, BN-dropout-FC-BN.

    Deng et al., "ArcFace" (2019), Sec. 3.1. At 112 pixels and 512 dimensions InsightFace's `arcface_torch`
    has 24.02, 34.14, 43.59 and 65.16 million parameters at depth 18, 34, 50, 100, and so has ours. Its last
    normalisation keeps its scale at one and learns an offset; ours has neither, since a head measures angles
    at the origin. MagFace's learns both, and both decay.

    Args:
        depth: 18, 34, 50, 100 or 200.
        width: channels of the stem and the first stage; each stage doubles them. 64 in the paper.
        stem_stride: 1 in the paper; 2 halves every feature map, for a quarter of the work.
        shortcut: `convolution`, or `subsampling` (AdaFace's IR nets): how the first block of the first stage,
            which keeps the channels, passes its input on.
        embedding_dim: 512 in the paper.
        input_px: 112 in the paper; the fully connected layer follows it.
        dropout: share of the flattened features that is dropped in training; 0.4 in the paper.
        last_norm: `plain`, or `affine`: the last normalisation learns scale and offset, so embeddings may
            become longer. With plain, the mean of their squared lengths is embedding_dim.
    """
    trunk = nn.Sequential(
        nn.Conv2d(3, width, 3, stem_stride, padding=1, bias=False), nn.BatchNorm2d(width), PReLU(width)
    )
    channels = width
    for stage, blocks in enumerate(BLOCKS[depth]):
        stage_width = width * 2**stage
        for block in range(blocks):
            trunk.append(_Block(channels, stage_width, stride=2 if block == 0 else 1, shortcut=shortcut))
            channels = stage_width
    trunk.append(nn.BatchNorm2d(channels))
    side = halved(input_px, times=4 if stem_stride == 1 else 5)
    embed = nn.Sequential(
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(channels * side**2, embedding_dim),
        LengtheningNorm(embedding_dim)
        if last_norm == "affine"
        else nn.BatchNorm1d(embedding_dim, affine=False),
    )
    backbone = Backbone(trunk, embed, embedding_dim=embedding_dim, input_px=input_px)
    backbone.apply(_initialise)
    return backbone


class _Block(nn.Module):
    """BN - convolution - BN - PReLU - convolution with the stride - BN, plus the shortcut."""

    def __init__(self, channels: int, width: int, *, stride: int, shortcut: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            PReLU(width),
            nn.Conv2d(width, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if shortcut == "subsampling" and channels == width:
            self.shortcut = nn.MaxPool2d(1, stride)
        elif stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, features: Tensor) -> Tensor:
        return self.body(features) + self.shortcut(features)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        nn.init.zeros_(module.bias)
