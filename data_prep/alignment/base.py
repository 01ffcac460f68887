"""What a template is, and what is cut from a photo without a detected face."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Template(ABC):
    """How a square crop is cut from a photo.

    Attributes:
        name: how configs and manifests call it.
        crop_px: side of the crop.
    """

    name: str
    crop_px: int

    @property
    @abstractmethod
    def geometry(self) -> str:
        """All that decides the crop, in words or numbers."""

    @property
    def sha256(self) -> str:
        """Hash of the geometry, which data sets and checkpoints carry so that a mismatch is refused."""
        return hashlib.sha256(f"{self.crop_px} {self.geometry}".encode()).hexdigest()

    @abstractmethod
    def cut(
        self, photo: NDArray[np.uint8], *, box: NDArray[np.floating], landmarks: NDArray[np.floating]
    ) -> NDArray[np.uint8]:
        """The crop of a face.

        Args:
            photo: (height, width, 3) RGB.
            box: (4,) left, top, right, bottom of the face, in photo pixels.
            landmarks: (5, 2) of the face in photo pixels, (x, y).

        Returns:
            (crop_px, crop_px, 3) RGB.
        """

    @abstractmethod
    def landmarks_in_crop(
        self, landmarks: NDArray[np.floating], *, box: NDArray[np.floating], photo_size: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Where the landmarks of a face lie in the crop that `cut` makes of it.

        Args:
            landmarks, box: of the face, as for `cut`.
            photo_size: height and width of the photo.

        Returns:
            (5, 2) in crop pixels, (x, y).
        """


def centre_crop(photo: NDArray[np.uint8], template: Template) -> NDArray[np.uint8]:
    """The fallback for a photo without a detected face: its central square, resized to the template.

    Args:
        photo: (height, width, 3) RGB.
        template: gives the crop's size.

    Returns:
        (crop_px, crop_px, 3) RGB.
    """
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = photo[top : top + side, left : left + side]
    flag = cv2.INTER_AREA if side > template.crop_px else cv2.INTER_LINEAR
    crop = cv2.resize(square, (template.crop_px, template.crop_px), interpolation=flag)
    return np.asarray(crop, dtype=np.uint8)
