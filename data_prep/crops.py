"""The crops of an aligned data set: read, and laid side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError

_GAP_PX = 4


def read_crop(path: Path, *, crop_px: int) -> NDArray[np.uint8]:
    """A crop, (crop_px, crop_px, 3) RGB.

    Raises:
        InputError: it is missing or broken, or has another size than its manifest says.
    """
    crop = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if crop is None or crop.shape != (crop_px, crop_px, 3):
        raise unreadable_crop(path, crop_px=crop_px)
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def unreadable_crop(path: Path, *, crop_px: int) -> InputError:
    """The error that `read_crop` raises, for readers in another process, which only hand over the name."""
    return InputError(
        "data",
        f"every crop of the manifest must be a readable {crop_px} x {crop_px} picture",
        got=path,
        fix="Align the photos again into an empty folder.",
    )


def side_by_side(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crops, (n, crop_px, crop_px, 3), in a row, with white between them."""
    gap = np.full((crops.shape[1], _GAP_PX, 3), 255, dtype=np.uint8)
    spaced = [part for crop in crops for part in (gap, crop)]
    return np.hstack(spaced[1:])
