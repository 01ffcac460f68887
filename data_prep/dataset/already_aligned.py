"""Crops that were aligned before: recognised by their size and by where their landmarks lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_prep.alignment import Template, find_template
from data_prep.detection.cascade import FaceDetector, Faces, centred_largest
from data_prep.errors import InputError
from data_prep.photos import PhotoError, decode_photo
from data_prep.progress import say
from data_prep.sources import SourcePhoto

POLICY = "already aligned"
TEMPLATE = find_template("arcface-112")
MIN_FACE_PX = 30

_SAMPLED = 32
_OTHERS = 0.1  # the share of other sizes that a set of crops may hold: strays, which fail one by one
# On InsightFace's own crops the median is 3 px to 4 px, on faces cropped by a box 12 px and more.
_FARTHEST_PX = 8.0


def are_aligned(photos: Sequence[SourcePhoto], wanted: Template) -> bool:
    """Whether these are crops in the arcface-112 template, which must not be aligned twice.

    Of up to 32 photos, evenly spread, nine in ten must be 112 x 112, and the landmarks that the detector
    finds in half of them or more must lie near the template's.

    Args:
        photos: of a source, in its order.
        wanted: the template to align to.

    Raises:
        InputError: they are, and another template is wanted.
    """
    sample = _sample(photos)
    if not sample:
        return False
    distance_px = _distance_px(sample)
    if distance_px is None or distance_px > _FARTHEST_PX:
        found = "no faces are found" if distance_px is None else f"landmarks lie {distance_px:.1f} px away"
        say(f"photos have the size of {TEMPLATE.name} crops, but {found}: not aligned yet")
        return False
    if wanted != TEMPLATE:
        raise InputError(
            "--template",
            "must be arcface-112 for photos that are aligned already",
            got=wanted.name,
            fix="Leave --template out, or give the photos before they were cropped.",
        )
    say(f"photos are {TEMPLATE.name} crops (landmarks within {distance_px:.1f} px): taken over as they are")
    return True


def _sample(photos: Sequence[SourcePhoto]) -> list[NDArray[np.uint8]]:
    """Pixels of some photos; none as soon as too many have another size."""
    side = TEMPLATE.crop_px
    sample: list[NDArray[np.uint8]] = []
    others = 0
    # Each once, where there are fewer photos.
    for place in sorted({round(share * (len(photos) - 1)) for share in np.linspace(0, 1, _SAMPLED)}):
        try:
            pixels = decode_photo(photos[place].read())
        except PhotoError:
            continue
        if pixels.shape == (side, side, 3):
            sample.append(pixels)
            continue
        others += 1
        if others > _OTHERS * min(_SAMPLED, len(photos)):
            return []
    return sample


def _distance_px(sample: list[NDArray[np.uint8]]) -> float | None:
    """Median over the crops of the mean distance from the template; null where most show no face."""
    found = FaceDetector(MIN_FACE_PX).detect(sample)
    distances = [distance for faces in found if (distance := _crop_distance_px(faces)) is not None]
    return float(np.median(distances)) if 2 * len(distances) >= len(sample) else None


def _crop_distance_px(faces: Faces) -> float | None:
    chosen = centred_largest(faces, width=TEMPLATE.crop_px, height=TEMPLATE.crop_px)
    if chosen is None:
        return None
    offsets = faces.landmarks[chosen] - np.array(TEMPLATE.landmarks)
    return float(np.linalg.norm(offsets, axis=1).mean())
