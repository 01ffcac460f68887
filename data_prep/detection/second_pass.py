"""A second search in photos without a face: inside a black border, at lower thresholds.

The detection pyramid ends at the photo's size, so a face that is as large as its photo, or is cut off by the
photo's edge, is never proposed. Inside a border it is. Lower thresholds also find faces in photos without
any, so a face of the second pass counts only where the mirrored photo shows it as well. The numbers were
chosen on the CFP sample and CelebA: docs/results/alignment.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from data_prep.detection.cascade import CascadeDetector, Thresholds
from data_prep.detection.faces import Faces, SeenFaces

_BORDER = 0.5  # its width, as a share of the photo's longer side
_THRESHOLDS = Thresholds(proposal=0.5, refinement=0.6, output=0.6)
_FARTHEST = 0.2  # mean distance of the mirrored photo's landmarks, as a share of the box
# Faces that the first pass misses are large in their photo, so larger photos are scaled down to this side.
_LARGEST_PX = 1024

SECOND_PASS = (
    f"border {_BORDER:g}, thresholds {', '.join(f'{threshold:g}' for threshold in _THRESHOLDS)}, "
    "confirmed by the mirrored photo"
)

_MIRRORED_LANDMARKS = [1, 0, 2, 4, 3]  # left becomes right


class TwoPassDetector:
    """Searches every photo once, and those without a face a second time.

    Args:
        min_face_px: smallest face that is looked for, at least 12.
    """

    def __init__(self, min_face_px: int = 30) -> None:
        self._first = CascadeDetector(min_face_px)
        self._second = CascadeDetector(min_face_px, thresholds=_THRESHOLDS)

    def detect(self, photos: Sequence[NDArray[np.uint8]]) -> list[SeenFaces]:
        """The faces of photos of any sizes.

        Args:
            photos: (height, width, 3) RGB each.
        """
        found = self._first.detect(photos)
        missed = [place for place, faces in enumerate(found) if not len(faces)]
        seen = [SeenFaces(faces, 1) for faces in found]
        for place, faces in zip(missed, self._search_again([photos[place] for place in missed]), strict=True):
            seen[place] = SeenFaces(faces, 2 if len(faces) else None)
        return seen

    def _search_again(self, photos: Sequence[NDArray[np.uint8]]) -> list[Faces]:
        framed = [_Framed(photo) for photo in photos]
        found = self._second.detect([each.pixels for each in framed])
        some = [place for place, faces in enumerate(found) if len(faces)]
        mirrored = self._second.detect(
            [np.ascontiguousarray(framed[place].pixels[:, ::-1]) for place in some]
        )
        for place, reflections in zip(some, mirrored, strict=True):
            width = framed[place].pixels.shape[1]
            found[place] = _confirmed(found[place], reflections, width=width)
        return [each.in_photo(faces) for each, faces in zip(framed, found, strict=True)]


class _Framed:
    """A photo, scaled down where it is large, inside its border.

    Args:
        photo: (height, width, 3) RGB.
    """

    def __init__(self, photo: NDArray[np.uint8]) -> None:
        longest = max(photo.shape[:2])
        self._scale = min(1.0, _LARGEST_PX / longest)
        if self._scale < 1:
            height, width = (max(1, round(side * self._scale)) for side in photo.shape[:2])
            photo = np.asarray(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        self._border_px = border = round(_BORDER * longest * self._scale)
        framed = cv2.copyMakeBorder(photo, border, border, border, border, cv2.BORDER_CONSTANT)
        self.pixels = np.asarray(framed, dtype=np.uint8)

    def in_photo(self, faces: Faces) -> Faces:
        """Faces of the framed picture, in pixels of the photo."""
        boxes, landmarks = (
            ((places - self._border_px) / np.float32(self._scale))
            for places in (faces.boxes, faces.landmarks)
        )
        return Faces(boxes, faces.scores, landmarks)


def _confirmed(faces: Faces, reflections: Faces, *, width: int) -> Faces:
    """The faces that the mirrored picture shows at the same place."""
    landmarks = reflections.landmarks[:, _MIRRORED_LANDMARKS] * (-1, 1) + (width - 1, 0)
    offsets = np.linalg.norm(faces.landmarks[:, None] - landmarks[None], axis=3).mean(axis=2)
    side = (faces.boxes[:, 2:] - faces.boxes[:, :2]).max(axis=1)
    keep = (offsets <= _FARTHEST * side[:, None]).any(axis=1)
    return faces[keep]
