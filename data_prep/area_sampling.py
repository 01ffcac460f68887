"""Means over pixel rectangles of many photos at once, by summed-area tables (Crow, 1984)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def bin_edges(extent: Tensor | NDArray[np.int64], bins: int) -> tuple[Tensor, Tensor]:
    """Where each of `bins` averaging bins over `extent` pixels begins and ends.

    Neighbours share a pixel where the extent does not divide: the rule of adaptive average pooling, with
    which MTCNN's weights are used everywhere.

    Args:
        extent: (n,) pixels, at least 1.
        bins: how many.

    Returns:
        first and end (exclusive), each (n, bins).
    """
    extent = torch.as_tensor(extent)[:, None]
    index = torch.arange(bins)
    first = index * extent // bins
    end = ((index + 1) * extent + bins - 1) // bins
    return first, end


class AreaSampler:
    """Resamples photos of any sizes; beyond their borders they are black.

    A table holds the sum of all pixels above and to the left, so the sum over a rectangle is four look-ups. A
    look-up beyond the border is clamped to it, which counts the pixels there as zero: zero padding for free.

    Args:
        photos: (height, width, 3) uint8 each.
    """

    def __init__(self, photos: Sequence[NDArray[np.uint8]]) -> None:
        # int32 wraps around on large photos, but a difference of two sums stays right as long as it
        # fits itself: bins of up to 8 megapixels.
        self._tables = [cv2.integral(photo, sdepth=cv2.CV_32S) for photo in photos]
        self._size = torch.tensor([photo.shape[:2] for photo in photos])
        lengths = torch.tensor([table.shape[0] * table.shape[1] for table in self._tables])
        self._start = lengths.cumsum(0) - lengths
        self._flat = torch.from_numpy(np.concatenate([table.reshape(-1, 3) for table in self._tables]))

    def shrink(
        self, photo: int, size: tuple[int, int], *, rows: slice, columns: slice
    ) -> NDArray[np.float32]:
        """A part of a photo that is scaled down to `size`.

        Args:
            photo: which one.
            size: (height, width) of the whole scaled photo.
            rows: the part's rows in the scaled photo.
            columns: its columns.

        Returns:
            (rows, columns, 3) means in [0, 255].
        """
        table = self._tables[photo]
        top, bottom = (edge[0, rows].numpy() for edge in bin_edges(self._size[photo, :1], size[0]))
        left, right = (edge[0, columns].numpy() for edge in bin_edges(self._size[photo, 1:], size[1]))
        band = table[bottom] - table[top]
        sums = band[:, right] - band[:, left]
        area = (bottom - top)[:, None] * (right - left)
        return sums / area[:, :, None].astype(np.float32)

    def crop(self, photo: Tensor, boxes: Tensor, *, side: int) -> Tensor:
        """Rectangles of the photos, each scaled to a square.

        Args:
            photo: (n,) int64, which photo each rectangle is of.
            boxes: (n, 4) int64 x1, y1, x2, y2, ends exclusive, in photo pixels; may leave the photo.
            side: of the squares.

        Returns:
            (n, 3, side, side) float32 means in [0, 255], channels last in memory.
        """
        height, width = self._size[photo].unbind(1)
        left, right = bin_edges(boxes[:, 2] - boxes[:, 0], side)
        top, bottom = bin_edges(boxes[:, 3] - boxes[:, 1], side)
        x = (torch.cat([left, right], 1) + boxes[:, :1]).clamp_min(0).minimum(width[:, None])
        y = (torch.cat([top, bottom], 1) + boxes[:, 1:2]).clamp_min(0).minimum(height[:, None])
        row = self._start[photo][:, None] + y * (width + 1)[:, None]
        corners = self._flat[row[:, :, None] + x[:, None, :]]
        bands = corners[:, side:] - corners[:, :side]
        sums = bands[:, :, side:] - bands[:, :, :side]
        area = (bottom - top)[:, :, None] * (right - left)[:, None, :]
        return (sums / area[..., None]).permute(0, 3, 1, 2)
