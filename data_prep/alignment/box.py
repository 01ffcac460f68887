"""Crops that are the box of the face with a margin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.alignment.base import Template


@dataclass(frozen=True)
class BoxTemplate(Template):
    """The box of the detector with a margin: clipped to the photo, stretched to a square, not rotated.

    Attributes:
        margin_px: on both sides together, in crop pixels.
    """

    margin_px: int

    @property
    def geometry(self) -> str:
        """The margin and the rule."""
        return f"box with a margin of {self.margin_px} px, clipped to the photo, resized without rotation"

    def cut(
        self, photo: NDArray[np.uint8], *, box: NDArray[np.floating], landmarks: NDArray[np.floating]
    ) -> NDArray[np.uint8]:
        """Whole pixels of the photo, resized, as facenet-pytorch does it; the box may leave the photo."""
        left, top, right, bottom = self._cut_out(box, height=photo.shape[0], width=photo.shape[1])
        face = Image.fromarray(photo[top:bottom, left:right])
        size = self.crop_px, self.crop_px
        return np.asarray(face.resize(size, Image.Resampling.BILINEAR), dtype=np.uint8)

    def landmarks_in_crop(
        self, landmarks: NDArray[np.floating], *, box: NDArray[np.floating], photo_size: tuple[int, int]
    ) -> NDArray[np.float64]:
        """By the corner and the size of what is cut out."""
        left, top, right, bottom = self._cut_out(box, height=photo_size[0], width=photo_size[1])
        scale = self.crop_px / np.array([right - left, bottom - top])
        return np.asarray((landmarks - [left, top] + 0.5) * scale - 0.5)

    def _cut_out(self, box: NDArray[np.floating], *, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the pixels that are cut out of a photo of that size."""
        left, top, right, bottom = map(float, box)
        share = self.margin_px / (self.crop_px - self.margin_px) / 2
        margin_x, margin_y = share * (right - left), share * (bottom - top)
        # Cut to whole pixels, at least one: a box at the photo's edge may lie outside of it.
        x, y = int(min(max(left - margin_x, 0), width - 1)), int(min(max(top - margin_y, 0), height - 1))
        x_end, y_end = int(min(right + margin_x, width)), int(min(bottom + margin_y, height))
        return x, y, max(x_end, x + 1), max(y_end, y + 1)
