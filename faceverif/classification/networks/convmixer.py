"""ConvMixer, by timm."""

from __future__ import annotations

from torch import nn

from faceverif.classification.networks.base import fully_connected


def convmixer(
    *,
    shape: tuple[int, int, int],
    width: int,
    depth: int,
    kernel_px: int,
    patch_px: int,
    embedding_dim: int | None,
) -> nn.Module:
    """Patches, then depthwise and pointwise convolutions in turn: Trockman & Kolter (2022), Sec. 2.

    Args:
        shape: C, H, W.
        width: 256 in the authors' net for CIFAR-10.
        depth: 8 in theirs.
        kernel_px: 5 in theirs.
        patch_px: 2 in theirs.
        embedding_dim: of a layer after pooling; None: the pooled features.
    """
    from timm.models.convmixer import ConvMixer

    trunk = ConvMixer(
        dim=width, depth=depth, kernel_size=kernel_px, patch_size=patch_px, in_chans=shape[0], num_classes=0
    )
    return trunk if embedding_dim is None else fully_connected(trunk, shape, embedding_dim)
