"""Augmentation on the device: parameters for a batch are drawn first, then all photos change together."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from faceverif.config.run import AugmentationConfig

# Weights of red, green and blue in luma, ITU-R BT.601.
_LUMA = (0.299, 0.587, 0.114)
_ERASED_AREA = (0.02, 0.2)
_ERASED_ASPECT = (0.5, 2.0)
_RESOLUTION_DIVISORS = (2, 3, 4)


@dataclass(frozen=True)
class AugmentationDraw:
    """What happens to each photo of a batch; every field has one row a photo.

    Attributes:
        affine: (batch, 2, 3) output -> input coordinates, in pixels from the centre: flip, turn, zoom, shift.
        brightness, contrast, saturation: (batch,) factors; saturation 0 is grey.
        divisor: (batch,) of the resolution; 1 leaves it. Always on the CPU: it says which photos are resized,
            and asking another device for that means waiting for it.
        erased: (batch, 4) left, top, right, bottom as shares of the side; empty where nothing is erased.
    """

    affine: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    divisor: Tensor
    erased: Tensor

    def __getitem__(self, photos: slice) -> AugmentationDraw:
        return AugmentationDraw(*(getattr(self, name)[photos] for name in self.__dataclass_fields__))

    @property
    def mirrored(self) -> Tensor:
        """(batch,) whether a photo is shown as its mirror image."""
        return torch.linalg.det(self.affine[:, :, :2]) < 0

    def to(self, device: torch.device) -> AugmentationDraw:
        """The same draw on another device, without `divisor`."""
        moved = {
            name: getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__
        }
        return replace(self, **moved | {"divisor": self.divisor})


def draw_augmentation(
    config: AugmentationConfig, photos: int, *, generator: torch.Generator
) -> AugmentationDraw:
    """Draw the parameters of every photo of a batch.

    Every parameter has its own random numbers, so that switching one on leaves the others as they were.

    Args:
        config: which changes, and how strong.
        photos: size of the whole batch, over all processes.
        generator: on the CPU.
    """
    uniform = torch.rand(16, photos, generator=generator)
    symmetric = uniform * 2 - 1
    mirror = torch.where(uniform[0] < config.flip, -1.0, 1.0)
    angle = symmetric[1] * math.radians(config.rotation_deg)
    # Whole pixels: without zoom and turn nothing is interpolated.
    shift = torch.round(symmetric[2:4] * (config.shift_px + 0.499999))
    zoom = (1 + config.zoom) ** symmetric[4]
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    rows = (mirror * cosine, -sine, shift[0], mirror * sine, cosine, shift[1])
    saturation = 1 + config.saturation * symmetric[7]
    divisors = torch.tensor(_RESOLUTION_DIVISORS)[(uniform[10] * len(_RESOLUTION_DIVISORS)).long()]
    return AugmentationDraw(
        affine=torch.stack(rows, dim=1).view(photos, 2, 3),
        brightness=1 + config.brightness * symmetric[5],
        contrast=1 + config.contrast * symmetric[6],
        saturation=torch.where(uniform[8] < config.grey, 0.0, saturation),
        divisor=torch.where(uniform[9] < config.low_resolution, divisors, 1),
        erased=_erased_boxes(uniform[11:16], config.erase),
    )


def _erased_boxes(uniform: Tensor, chance: float) -> Tensor:
    """Rectangles as shares of the side, (photos, 4); empty ones for the photos that are spared."""
    low, high = _ERASED_AREA
    area = torch.where(uniform[0] < chance, low + (high - low) * uniform[1], 0.0)
    low, high = (math.log(bound) for bound in _ERASED_ASPECT)
    aspect = torch.exp(low + (high - low) * uniform[2])
    width, height = (area * aspect).sqrt(), (area / aspect).sqrt()
    left, top = uniform[3] * (1 - width), uniform[4] * (1 - height)
    return torch.stack((left, top, left + width, top + height), dim=1)


def augment_crops(
    crops: Tensor, draw: AugmentationDraw, *, config: AugmentationConfig, input_px: int
) -> Tensor:
    """Turn crops into the pixels that the model sees; steps that are switched off cost nothing.

    Args:
        crops: (batch, crop_px, crop_px, 3) uint8.
        draw: parameters of the same photos, on the same device.
        config: which changes are on.
        input_px: side of the result, at most crop_px.

    Returns:
        (batch, 3, input_px, input_px) in [0, 1], channels last.
    """
    pixels = crops.permute(0, 3, 1, 2).float().div_(255.0)
    pixels = _warp(pixels, draw, config=config, input_px=input_px)
    if config.low_resolution:
        pixels = _lower_resolution(pixels, draw.divisor)
    if config.brightness or config.contrast or config.saturation or config.grey:
        pixels = _change_colours(pixels, draw)
    if config.erase:
        pixels = _erase(pixels, draw.erased)
    return pixels.contiguous(memory_format=torch.channels_last)


def _warp(pixels: Tensor, draw: AugmentationDraw, *, config: AugmentationConfig, input_px: int) -> Tensor:
    """Flip, turn, zoom and shift in one interpolation; black comes in from outside, as in alignment."""
    crop_px = pixels.shape[-1]
    if not (config.flip or config.shift_px or config.zoom or config.rotation_deg):
        return centre_window(pixels, input_px)
    # grid_sample's coordinates run from -1 to 1 over the crop.
    scale = _sent((input_px / crop_px, input_px / crop_px, 2 / crop_px), pixels.device)
    affine = draw.affine * scale
    grid = F.affine_grid(affine, [len(pixels), 3, input_px, input_px], align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _sent(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers on a device, which is not waited for."""
    return torch.tensor(numbers).to(device, non_blocking=True)


def centre_window(pixels: Tensor, side_px: int) -> Tensor:
    """The central square of that side, of (batch, 3, height, width)."""
    top, left = ((extent - side_px) // 2 for extent in pixels.shape[-2:])
    return pixels[..., top : top + side_px, left : left + side_px]


def _lower_resolution(pixels: Tensor, divisor: Tensor) -> Tensor:
    side = pixels.shape[-1]
    for factor in _RESOLUTION_DIVISORS:
        chosen = (divisor == factor).nonzero().squeeze(1)
        if len(chosen):
            chosen = chosen.to(pixels.device, non_blocking=True)
            small = F.interpolate(pixels[chosen], size=side // factor, mode="area")
            pixels[chosen] = F.interpolate(small, size=side, mode="bilinear", align_corners=False)
    return pixels


def _change_colours(pixels: Tensor, draw: AugmentationDraw) -> Tensor:
    """Brightness, then contrast about the mean luma, then saturation about each pixel's luma."""
    weights = _sent(_LUMA, pixels.device).view(1, 3, 1, 1)
    brightness, contrast, saturation = (
        factor.view(-1, 1, 1, 1) for factor in (draw.brightness, draw.contrast, draw.saturation)
    )
    luma = (pixels * weights).sum(dim=1, keepdim=True)
    # All three are linear, so one fused pass does: s b c p + (1 - s) b c l + (1 - c) b mean(l).
    scaled = brightness * contrast
    offset = (1 - contrast) * brightness * luma.mean(dim=(2, 3), keepdim=True)
    return (scaled * saturation * pixels + (scaled * (1 - saturation) * luma + offset)).clamp_(0.0, 1.0)


def _erase(pixels: Tensor, boxes: Tensor) -> Tensor:
    side = pixels.shape[-1]
    place = (torch.arange(side, device=pixels.device) + 0.5) / side
    left, top, right, bottom = (edge[:, None] for edge in boxes.unbind(dim=1))
    columns = (place >= left) & (place < right)
    rows = (place >= top) & (place < bottom)
    return pixels.masked_fill((rows[:, None, :, None] & columns[:, None, None, :]), 0.5)
