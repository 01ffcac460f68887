"""Crops whose five landmarks lie in fixed places: the face is warped."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data_prep.alignment.base import Template

_WARP_SIDE = 2**15 - 1  # from here on OpenCV before version 5 refuses to warp a picture


@dataclass(frozen=True)
class LandmarkTemplate(Template):
    """The five landmarks land in fixed places.

    Attributes:
        landmarks: five (x, y) in crop pixels: left eye, right eye, nose, left mouth, right mouth.
    """

    landmarks: tuple[tuple[float, float], ...]

    @property
    def geometry(self) -> str:
        """The places of the landmarks."""
        return " ".join(f"{x:.4f},{y:.4f}" for x, y in self.landmarks)

    def cut(
        self, photo: NDArray[np.uint8], *, box: NDArray[np.floating], landmarks: NDArray[np.floating]
    ) -> NDArray[np.uint8]:
        """Warp the face; see `align_face`."""
        return align_face(photo, landmarks, self)

    def landmarks_in_crop(
        self, landmarks: NDArray[np.floating], *, box: NDArray[np.floating], photo_size: tuple[int, int]
    ) -> NDArray[np.float64]:
        """By the transform that warps the face."""
        matrix = similarity_transform(landmarks, np.array(self.landmarks))
        return np.asarray(landmarks @ matrix[:, :2].T + matrix[:, 2])


def similarity_transform(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Least-squares rotation, scale and shift from source to target points, without reflection.

    Umeyama (1991), Eqs. 40-43.

    Args:
        source: (points, 2) in (x, y).
        target: (points, 2).

    Returns:
        (2, 3) affine matrix, for `cv2.warpAffine`.

    Raises:
        ValueError: all source points coincide, so no scale exists.
    """
    source = np.asarray(source, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source_centred, target_centred = source - source_mean, target - target_mean
    variance = (source_centred**2).sum() / len(source)
    if variance == 0:
        raise ValueError("similarity_transform: the source points coincide, so no scale exists")
    u, singular, vt = np.linalg.svd(target_centred.T @ source_centred / len(source))
    keep = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(keep) @ vt
    scale = (singular * keep).sum() / variance
    linear = scale * rotation
    return np.hstack([linear, (target_mean - linear @ source_mean)[:, None]])


def align_face(
    photo: NDArray[np.uint8], landmarks: NDArray[np.floating], template: LandmarkTemplate
) -> NDArray[np.uint8]:
    """Warp a face so that its landmarks meet the template's.

    Args:
        photo: (height, width, 3) RGB.
        landmarks: (5, 2) in photo pixels, (x, y).
        template: where they go.

    Returns:
        (crop_px, crop_px, 3) RGB; black where the crop leaves the photo.
    """
    matrix = similarity_transform(landmarks, np.array(template.landmarks))
    size = (template.crop_px, template.crop_px)
    # INTER_AREA does not exist for warps; a face much larger than the crop is first halved until bilinear
    # interpolation no longer skips pixels.
    shrink = 1.0 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    while shrink >= 2.0 and max(photo.shape[:2]) >= 2:
        height, width = photo.shape[:2]
        half_height, half_width = max(1, height // 2), max(1, width // 2)
        half = cv2.resize(photo, (half_width, half_height), interpolation=cv2.INTER_AREA)
        photo = np.asarray(half, dtype=np.uint8)
        grow_x, grow_y = width / half_width, height / half_height
        # p_full = (p_half + 0.5) * grow - 0.5
        matrix = matrix @ np.array(
            [[grow_x, 0, 0.5 * grow_x - 0.5], [0, grow_y, 0.5 * grow_y - 0.5], [0, 0, 1]]
        )
        shrink /= 2.0
    if max(photo.shape[:2]) >= _WARP_SIDE:
        photo, matrix = _around_crop(photo, matrix, template.crop_px)
    crop = cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_LINEAR, borderValue=0)
    return np.asarray(crop, dtype=np.uint8)


def _around_crop(
    photo: NDArray[np.uint8], matrix: NDArray[np.float64], crop_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The pixels of a photo that a crop is made of, and the transform from there; see `align_face`.

    Other photos are warped whole: from a part of them the last bit of a crop may differ.
    """
    height, width = photo.shape[:2]
    corners = np.array([[x, y] for x in (-1, crop_px) for y in (-1, crop_px)], np.float64)
    there = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
    # One pixel at least, so that a crop beyond the photo is black.
    left, top = np.clip(np.floor(there.min(axis=0)) - 1, 0, [width - 1, height - 1]).astype(int)
    right, bottom = np.clip(np.ceil(there.max(axis=0)) + 2, [left + 1, top + 1], [width, height]).astype(int)
    shifted = matrix[:, 2] + matrix[:, :2] @ [left, top]
    part = np.ascontiguousarray(photo[top:bottom, left:right])
    return part, np.column_stack([matrix[:, :2], shifted])
