"""Vision transformers for faces, on timm's: small patches, and an embedding of all of them."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import nn

from faceverif.backbones.base import Backbone

ViTSize = Literal["tiny", "small", "base"]

# A crop of 112 pixels gives 14 x 14 patches; those of ImageNet's nets, 16 pixels wide, would be 7 x 7.
_PATCH_PX = 8


class _Shape(NamedTuple):
    width: int
    depth: int
    heads: int
    widening: float  # of the two layers behind each attention


_SHAPES: dict[ViTSize, _Shape] = {
    "tiny": _Shape(256, 12, 8, 4.0),
    "small": _Shape(512, 12, 8, 5.0),
    "base": _Shape(512, 24, 16, 3.0),
}


def vit(*, size: ViTSize, drop_path: float, embedding_dim: int, input_px: int, dropout: float) -> Backbone:
    """A vision transformer whose embedding layer sees every patch, in place of a class token or a mean.

    Dosovitskiy et al. (2021), in the shapes of two face projects: `tiny` has width, depth and heads of
    InsightFace's arcface_torch (vit_t), `small` and `base` are CVLface's. The layers behind the patches are
    theirs too: a linear layer to the width, batch normalisation, a linear layer to the embedding, batch
    normalisation. From both differ: GELU where they have ReLU6, a bias of queries, keys and values, no masked
    patches, and 1e-5 in the batch normalisations (theirs: 2e-5). From arcface_torch also: patches of 8 pixels
    as in CVLface (theirs are 9, and leave 4 of 112 pixels out).

    Args:
        size: 22, 96 or 115 million parameters at 112 pixels and 512 dimensions.
        drop_path: share of the samples for which training skips the last block, smaller for earlier blocks;
            0.1 in both projects.
        embedding_dim: 512 in both.
        input_px: 112 in both; a multiple of 8.
        dropout: share of the patches' features that is dropped in training, before the first linear layer
            (none in both).
    """
    from timm.models.vision_transformer import VisionTransformer  # as slow to import as torch

    shape = _SHAPES[size]
    trunk = VisionTransformer(
        img_size=input_px,
        patch_size=_PATCH_PX,
        num_classes=0,
        global_pool="",
        class_token=False,
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.heads,
        mlp_ratio=shape.widening,
        drop_path_rate=drop_path,
    )
    embed = nn.Sequential(
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(shape.width * (input_px // _PATCH_PX) ** 2, shape.width, bias=False),
        nn.BatchNorm1d(shape.width),
        nn.Linear(shape.width, embedding_dim, bias=False),
        nn.BatchNorm1d(embedding_dim),
    )
    for layer in embed:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
    return Backbone(trunk, embed, embedding_dim=embedding_dim, input_px=input_px)
