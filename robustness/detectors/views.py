"""Views: changed versions of a picture on which an attacked model tends to decide otherwise.

A view maps (N, C, H, W) pixels in [0, 1] to the same shape. Every view has a gradient, so that an attack may
know it: that of the median and of the crops is exact. Rounding and JPEG have none; there the gradient of the
identity stands in (straight-through, or BPDA: Athalye et al. (2018), Sec. 4.1).
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

View = Callable[[Tensor], Tensor]


def reduced_depth(pixels: Tensor, *, bits: int) -> Tensor:
    """Pixels rounded to 2^bits levels: Xu et al., "Feature Squeezing" (2018), Sec. III-A."""
    levels = 2**bits - 1
    return _straight_through(pixels, (pixels.detach() * levels).round() / levels)


def median_filtered(pixels: Tensor, *, size: int) -> Tensor:
    """The median of size x size pixels, as SciPy defines it: Xu et al. (2018), Sec. III-B.

    Of an even number of pixels the upper of the two middle ones counts. Beyond the border the border's own
    pixels are repeated.

    Args:
        pixels: (N, C, H, W) in [0, 1].
        size: 2 or 3; the window of 2 reaches one pixel up and to the left.
    """
    before = size // 2
    padded = F.pad(pixels, (before, size - 1 - before) * 2, mode="replicate")
    windows = padded.unfold(2, size, 1).unfold(3, size, 1).flatten(4)
    return windows.kthvalue(size * size // 2 + 1, dim=4).values


def through_jpeg(pixels: Tensor, *, quality: int) -> Tensor:
    """Pixels written as JPEG files and read again.

    Args:
        pixels: (N, C, H, W) in [0, 1], of one or three channels.
        quality: 1 to 95.
    """
    seen = [_jpeg(picture, quality) for picture in pixels.detach().cpu()]
    return _straight_through(pixels, torch.stack(seen).to(pixels.device))


def corner_crop(pixels: Tensor, *, share: float, corner: tuple[int, int]) -> Tensor:
    """A part of each picture, enlarged to the picture's size.

    Args:
        pixels: (N, C, H, W) in [0, 1].
        share: of each side that is kept.
        corner: of the part, down and across, in halves of the room that there is: (0, 0) is the upper left,
            (1, 1) the middle, (2, 2) the lower right.
    """
    sides = pixels.shape[2:]
    kept = [max(1, round(share * side)) for side in sides]
    first = [(side - part) * place // 2 for side, part, place in zip(sides, kept, corner, strict=True)]
    part = pixels[:, :, first[0] : first[0] + kept[0], first[1] : first[1] + kept[1]]
    enlarged = F.interpolate(part, size=tuple(sides), mode="bilinear", align_corners=False)
    return enlarged.clamp(0.0, 1.0)  # rounding may leave the box


def _straight_through(pixels: Tensor, seen: Tensor) -> Tensor:
    """The values of `seen` with the gradient of the pixels."""
    return seen + (pixels - pixels.detach())


def _jpeg(picture: Tensor, quality: int) -> Tensor:
    grey = (picture * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(grey[:, :, 0] if grey.shape[2] == 1 else grey).save(file, format="JPEG", quality=quality)
    decoded = np.asarray(Image.open(file)).reshape(grey.shape)
    return torch.from_numpy(decoded.copy()).permute(2, 0, 1).float().div(255)
