"""Flips and random crops of a whole batch at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from faceverif.classification.config import ImageAugmentationConfig


def augment_images(images: Tensor, config: ImageAugmentationConfig, *, generator: torch.Generator) -> Tensor:
    """Mirror some images, and move each within a black border; nothing is interpolated.

    All random numbers are drawn whatever is switched on, so that one change leaves the other as it was.

    Args:
        images: (batch, C, H, W) uint8.
        config: chance of a flip, width of the border.
        generator: on the CPU.

    Returns:
        (batch, C, H, W) uint8, channels last.
    """
    mirrored = torch.rand(len(images), generator=generator) < config.flip
    offsets = torch.randint(2 * config.crop_padding_px + 1, (2, len(images)), generator=generator)
    if not (config.flip or config.crop_padding_px):
        return images
    device, (height, width) = images.device, images.shape[2:]
    rows = offsets[0, :, None] + torch.arange(height)
    columns = torch.arange(width).expand(len(images), -1)
    columns = offsets[1, :, None] + torch.where(mirrored[:, None], width - 1 - columns, columns)
    padded = F.pad(images, (config.crop_padding_px,) * 4).permute(0, 2, 3, 1)
    which = torch.arange(len(images), device=device)[:, None, None]
    return padded[which, rows.to(device)[:, :, None], columns.to(device)[:, None]].permute(0, 3, 1, 2)
