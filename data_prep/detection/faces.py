"""What a detector says of a photo, and which of its faces is the main one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POLICY = "centred-largest"
GIVEN_POLICY = "given landmarks"  # of photos with a list of them: nothing was detected


@dataclass(frozen=True)
class Faces:
    """What the detector saw in one photo, best score first.

    Attributes:
        boxes: (n, 4) float32 x1, y1, x2, y2 in photo pixels; may leave the photo.
        scores: (n,) float32 in [0, 1].
        landmarks: (n, 5, 2) float32 (x, y): left eye, right eye, nose, left mouth, right mouth corner.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Faces:
        return Faces(self.boxes[keep], self.scores[keep], self.landmarks[keep])


@dataclass(frozen=True)
class SeenFaces:
    """The faces of a photo.

    Attributes:
        faces: in photo pixels.
        detection_pass: the pass that found them, 1 or 2; None where neither did.
    """

    faces: Faces
    detection_pass: int | None


def centred_largest(faces: Faces, *, width: int, height: int) -> int | None:
    """The main face of a photo: large and near its centre.

    Maximises area - 2 * squared distance of the box's centre from the photo's. The plain largest and the
    first box both cost points on LFW.

    Returns:
        Index of the face, None if there is none.
    """
    if len(faces) == 0:
        return None
    corners = faces.boxes.reshape(-1, 2, 2)
    area = (corners[:, 1] - corners[:, 0]).prod(axis=1)
    offset = corners.mean(axis=1) - np.array([width / 2, height / 2])
    return int(np.argmax(area - 2 * (offset**2).sum(axis=1)))
