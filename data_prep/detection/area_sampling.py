"""Means over pixel rectangles of many photos at once, by summed-area tables (Crow, 1984)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

CHANNELS = 4  # a fourth, unused, makes a look-up one aligned move of 16 bytes: three times as fast


def bin_edges(extent: NDArray[np.int64], bins: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each of `bins` averaging bins over `extent` pixels begins and ends.

    Neighbours share a pixel where the extent does not divide: the rule of adaptive average pooling, with
    which MTCNN's weights are used everywhere.

    Args:
        extent: (n,) pixels, at least 1.
        bins: how many.

    Returns:
        first and end (exclusive), each (n, bins).
    """
    spread = np.arange(bins + 1) * extent[:, None]
    return spread[:, :-1] // bins, -(-spread[:, 1:] // bins)


@lru_cache(maxsize=4096)
def _edges_of_level(extent: int, bins: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first, end = bin_edges(np.array([extent]), bins)
    return first[0], end[0]


class AreaSampler:
    """Resamples photos of any sizes; beyond their borders they are black.

    A table holds the sum of all pixels above and to the left, so the sum over a rectangle is four look-ups. A
    look-up beyond the border is clamped to it, which counts the pixels there as zero: zero padding for free.

    Args:
        photos: (height, width, 3) uint8 each.
    """

    def __init__(self, photos: Sequence[NDArray[np.uint8]]) -> None:
        self._size = np.array([photo.shape[:2] for photo in photos])
        lengths = (self._size + 1).prod(axis=1)
        self._start = lengths.cumsum() - lengths
        self._flat = np.empty((lengths.sum(), CHANNELS), np.int32)
        self._tables = [
            self._flat[start : start + length].reshape(height + 1, width + 1, CHANNELS)
            for start, length, (height, width) in zip(self._start, lengths, self._size, strict=True)
        ]
        for photo, table in zip(photos, self._tables, strict=True):
            # int32 wraps around on large photos, but a difference of two sums stays right as long as it
            # fits itself: bins of up to 8 megapixels.
            cv2.integral(cv2.cvtColor(photo, cv2.COLOR_RGB2RGBA), table, sdepth=cv2.CV_32S)

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
            (rows, columns, 4) means in [0, 255]: red, green, blue, and a fourth without a meaning.
        """
        table = self._tables[photo]
        height, width = self._size[photo].tolist()
        top, bottom = (edge[rows] for edge in _edges_of_level(height, size[0]))
        left, right = (edge[columns] for edge in _edges_of_level(width, size[1]))
        band = table.take(bottom, axis=0) - table.take(top, axis=0)
        sums = band.take(right, axis=1) - band.take(left, axis=1)
        return _means(sums, bottom - top, right - left)

    def crop(self, photo: NDArray[np.int64], boxes: NDArray[np.int64], *, side: int) -> NDArray[np.float32]:
        """Rectangles of the photos, each scaled to a square.

        Args:
            photo: (n,), which photo each rectangle is of.
            boxes: (n, 4) x1, y1, x2, y2, ends exclusive, in photo pixels; may leave the photo.
            side: of the squares.

        Returns:
            (n, side, side, 4) means in [0, 255], as `shrink` returns them.
        """
        height, width = self._size[photo].T[:, :, None]
        left, right = bin_edges(boxes[:, 2] - boxes[:, 0], side)
        top, bottom = bin_edges(boxes[:, 3] - boxes[:, 1], side)
        x = np.clip(np.hstack([left, right]) + boxes[:, :1], 0, width)
        y = np.clip(np.hstack([top, bottom]) + boxes[:, 1:2], 0, height)
        row = self._start[photo][:, None] + y * (width + 1)
        corners = self._flat.take(row[:, :, None] + x[:, None, :], axis=0)
        bands = corners[:, side:] - corners[:, :side]
        sums = bands[:, :, side:] - bands[:, :, :side]
        return _means(sums, bottom - top, right - left)


def _means(
    sums: NDArray[np.int32], heights: NDArray[np.int64], widths: NDArray[np.int64]
) -> NDArray[np.float32]:
    # By rows of numbers: loops over the three colours of one pixel each take four times as long.
    flat = sums.reshape(*sums.shape[:-2], sums.shape[-2] * CHANNELS).astype(np.float32)
    columns = widths.repeat(CHANNELS, axis=-1).astype(np.float32)
    flat /= heights.astype(np.float32)[..., :, None] * columns[..., None, :]
    return flat.reshape(sums.shape)
