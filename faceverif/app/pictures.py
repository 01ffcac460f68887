"""Pictures as the page shows them: data URIs, so that nothing is written to a disk."""

from __future__ import annotations

import base64
import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

PREVIEW_PX = 640  # of the longer side
_CROP_PX = 224  # landmarks are drawn on an enlarged crop
_MARK = (86, 180, 233)
_MAIN = (230, 159, 0)
_GREY = 128


def picture_uri(pixels: Pixels, *, lossless: bool = True) -> str:
    """(height, width, 3) uint8 RGB as a data URI."""
    form = "PNG" if lossless else "JPEG"
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def with_boxes(photo: Pixels, boxes: NDArray[np.floating], *, main: int) -> Pixels:
    """A photo, at most `PREVIEW_PX` large, with a numbered box around each face.

    Args:
        photo: (height, width, 3) RGB.
        boxes: (faces, 4) left, top, right, bottom in photo pixels.
        main: the face with a box of another colour.
    """
    shrink = min(1.0, PREVIEW_PX / max(photo.shape[:2]))
    size = [max(1, round(side * shrink)) for side in photo.shape[1::-1]]
    drawn = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    thick = max(1, round(max(size) / 300))
    for number, box in enumerate(boxes, start=1):
        left, top, right, bottom = (round(float(side) * shrink) for side in box)
        colour = _MAIN if number - 1 == main else _MARK
        cv2.rectangle(drawn, (left, top), (right, bottom), colour, thick)
        if len(boxes) > 1:
            _write_number(drawn, number, (left, top), colour)
    return np.asarray(drawn, dtype=np.uint8)


def with_landmarks(crop: Pixels, landmarks: NDArray[np.floating]) -> Pixels:
    """A crop, enlarged to 224 pixels, with a dot on each landmark.

    Args:
        crop: (crop_px, crop_px, 3) RGB.
        landmarks: (5, 2) in crop pixels, (x, y).
    """
    grow = _CROP_PX / len(crop)
    drawn = cv2.resize(crop, (_CROP_PX, _CROP_PX), interpolation=cv2.INTER_CUBIC)
    for x, y in (landmarks + 0.5) * grow:
        place = (round(float(x)), round(float(y)))
        cv2.circle(drawn, place, 5, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(drawn, place, 3, (0, 114, 178), -1, cv2.LINE_AA)
    return np.asarray(drawn, dtype=np.uint8)


def magnified(change: NDArray[np.int16]) -> tuple[Pixels, int]:
    """A change around mid-grey, magnified until its largest value fills the range.

    Args:
        change: (height, width, 3) in grey levels.

    Returns:
        the picture, and how many times the change was magnified; 1 where nothing changed.
    """
    largest = int(np.abs(change).max())
    times = max(1, (_GREY - 1) // largest) if largest else 1
    return (np.clip(_GREY + times * change.astype(np.int32), 0, 255)).astype(np.uint8), times


def _write_number(
    drawn: NDArray[np.integer | np.floating], number: int, corner: tuple[int, int], colour: tuple[int, ...]
) -> None:
    x, y = max(corner[0], 0) + 3, max(corner[1], 0) + 22
    for shade, thick in (((0, 0, 0), 4), (colour, 2)):
        cv2.putText(drawn, str(number), (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.75, shade, thick, cv2.LINE_AA)
