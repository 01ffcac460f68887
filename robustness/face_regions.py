"""Regions of a face that a patch covers, where the five landmarks put them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from data_prep.alignment import find_template
from data_prep.alignment.landmarks import LandmarkTemplate, similarity_transform
from faceverif.models import PreprocessingSpec
from robustness.config.attacks import Region

Array = NDArray[np.float64]
_TEMPLATE = find_template("arcface-112")
assert isinstance(_TEMPLATE, LandmarkTemplate)
_FACE = np.array(_TEMPLATE.landmarks)
_LEFT_EYE, _RIGHT_EYE, _NOSE, _LEFT_MOUTH, _RIGHT_MOUTH = _FACE
_EYES_Y = float(_LEFT_EYE[1] + _RIGHT_EYE[1]) / 2
_MOUTH_Y = float(_LEFT_MOUTH[1] + _RIGHT_MOUTH[1]) / 2
# The unit of all lengths below: the distance of the eyes.
_UNIT = float(_RIGHT_EYE[0] - _LEFT_EYE[0])


def region_mask(
    region: Region, landmarks: NDArray[np.floating], *, height: int, width: int
) -> NDArray[np.bool_]:
    """The pixels of a picture that lie in a region of its face.

    Regions are drawn on the upright face of the ArcFace template and turned, scaled and shifted with the
    landmarks, so that they fit a crop and a whole photo alike.

    Args:
        region: which.
        landmarks: (5, 2) left eye, right eye, nose, left and right mouth corner in pixels, (x, y).
        height, width: of the picture.

    Returns:
        (height, width).
    """
    matrix = similarity_transform(landmarks, _FACE)
    across, down = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    x, y = np.einsum("ij,jhw->ihw", matrix, np.stack([across, down, np.ones_like(across)]))
    return REGIONS[region](x, y)


def seen_landmarks(spec: PreprocessingSpec) -> Array | None:
    """Where the landmarks of a face lie in what a model sees, the middle of the crop; None for a crop by box.

    Args:
        spec: of the model.

    Returns:
        (5, 2), pixels, (x, y).
    """
    template = spec.checked_template()
    if not isinstance(template, LandmarkTemplate):
        return None
    return np.array(template.landmarks) - (template.crop_px - spec.input_px) // 2


def _box(x: Array, y: Array, *, centre: tuple[float, float], half: tuple[float, float]) -> NDArray[np.bool_]:
    """Inside a rectangle: its centre in template pixels, half its sides in distances of the eyes."""
    return (np.abs(x - centre[0]) <= half[0] * _UNIT) & (np.abs(y - centre[1]) <= half[1] * _UNIT)


def _glasses(x: Array, y: Array) -> NDArray[np.bool_]:
    """Two frames, the bridge between them and the temples; the eyes stay free."""
    middle = (_LEFT_EYE[0] + _RIGHT_EYE[0]) / 2
    frame = _box(x, y, centre=(middle, _EYES_Y - 0.1 * _UNIT), half=(1.15, 0.07))
    for eye in (_LEFT_EYE, _RIGHT_EYE):
        frame |= _box(x, y, centre=tuple(eye), half=(0.44, 0.32))
    for eye in (_LEFT_EYE, _RIGHT_EYE):
        frame &= ~_box(x, y, centre=tuple(eye), half=(0.3, 0.18))
    return frame


def _forehead(x: Array, y: Array) -> NDArray[np.bool_]:
    """A rectangle above the eyebrows."""
    middle = (_LEFT_EYE[0] + _RIGHT_EYE[0]) / 2
    return _box(x, y, centre=(middle, _EYES_Y - 0.9 * _UNIT), half=(0.75, 0.35))


def _mouth_and_nose(x: Array, y: Array) -> NDArray[np.bool_]:
    """What a mask covers: from the tip of the nose to below the mouth."""
    top, bottom = _NOSE[1] - 0.15 * _UNIT, _MOUTH_Y + 0.4 * _UNIT
    middle = (_LEFT_MOUTH[0] + _RIGHT_MOUTH[0]) / 2
    return _box(x, y, centre=(middle, (top + bottom) / 2), half=(0.8, (bottom - top) / 2 / _UNIT))


REGIONS: dict[Region, Callable[[Array, Array], NDArray[np.bool_]]] = {
    "glasses": _glasses,
    "forehead": _forehead,
    "mouth_nose": _mouth_and_nose,
}
