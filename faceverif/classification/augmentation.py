"""Flips, random crops and CutOut of a whole batch at once, on its device."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from faceverif.classification.config import ImageAugmentationConfig

_FLATTEST = 4 / 3  # width by height of a part, or the reverse


def augment_images(
    images: Tensor,
    config: ImageAugmentationConfig,
    *,
    generator: torch.Generator,
    share: tuple[int, int] = (0, 1),
) -> Tensor:
    """Scale a part up, mirror, move within a black border, erase a square: each where asked for.

    All random numbers are drawn whatever is switched on, so that one change leaves the other as it was.

    Args:
        images: (batch, C, H, W) uint8.
        config: which of these.
        generator: on the CPU.
        share: (which, of how many) equal shares of a batch they are; each gets what it would in the whole.

    Returns:
        (batch, C, H, W) uint8, channels last.
    """
    which, of = share
    whole, own = len(images) * of, slice(which * len(images), (which + 1) * len(images))
    mirrored = (torch.rand(whole, generator=generator) < config.flip)[own]
    offsets = torch.randint(2 * config.crop_padding_px + 1, (2, whole), generator=generator)[:, own]
    crops = torch.rand(4, whole, generator=generator)[:, own]
    squares = torch.rand(2, whole, generator=generator)[:, own]
    if config.smallest_crop is not None:
        images = _scaled_up(images, crops, smallest=config.smallest_crop)
    if config.flip or config.crop_padding_px:
        images = _moved(images, mirrored, offsets, padding_px=config.crop_padding_px)
    return _cut_out(images, squares, side_px=config.cutout_px) if config.cutout_px else images


def _moved(images: Tensor, mirrored: Tensor, offsets: Tensor, *, padding_px: int) -> Tensor:
    device, (height, width) = images.device, images.shape[2:]
    rows = offsets[0, :, None] + torch.arange(height)
    columns = torch.arange(width).expand(len(images), -1)
    columns = offsets[1, :, None] + torch.where(mirrored[:, None], width - 1 - columns, columns)
    padded = F.pad(images, (padding_px,) * 4).permute(0, 2, 3, 1)
    which = torch.arange(len(images), device=device)[:, None, None]
    return padded[which, rows.to(device)[:, :, None], columns.to(device)[:, None]].permute(0, 3, 1, 2)


def _scaled_up(images: Tensor, drawn: Tensor, *, smallest: float) -> Tensor:
    """Of each image a part of random area and shape, at a random place, as large as the image was.

    Szegedy et al. (2015): the area is drawn evenly from `smallest` to 1, the shape from 3/4 to 4/3 evenly in
    its logarithm. A side that would leave the image is cut to it.
    """
    area = smallest + (1 - smallest) * drawn[0]
    shape = torch.exp(math.log(_FLATTEST) * (2 * drawn[1] - 1))
    sides = torch.stack([(area * shape).sqrt(), (area / shape).sqrt()]).clamp_max(1.0)  # width, height
    centres = (2 * drawn[2:] - 1) * (1 - sides)  # in [-1, 1], so that the part stays inside
    turns = torch.zeros(len(images), 2, 3)
    turns[:, 0, 0], turns[:, 1, 1], turns[:, 0, 2], turns[:, 1, 2] = *sides, *centres
    grid = F.affine_grid(turns.to(images.device), list(images.shape), align_corners=False)
    scaled = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return scaled.round_().clamp_(0, 255).to(torch.uint8)


def _cut_out(images: Tensor, drawn: Tensor, *, side_px: int) -> Tensor:
    """Each image with a square in its own mean colour: DeVries & Taylor, "CutOut" (2017).

    The middle of the square is any pixel, so that a part of it may lie outside. The paper erases to the data
    set's mean; the image's own is near it.
    """
    height, width = images.shape[2:]
    covered = []
    for extent, place in ((height, drawn[0]), (width, drawn[1])):
        first = (place * extent).long()[:, None] - side_px // 2
        pixels = torch.arange(extent)
        covered.append((pixels >= first) & (pixels < first + side_px))
    square = (covered[0][:, :, None] & covered[1][:, None, :])[:, None].to(images.device)
    means = images.float().mean(dim=(2, 3), keepdim=True).round().to(torch.uint8)
    return torch.where(square, means, images)
