"""Which way a head is turned, from five landmarks: pose from orthography and scaling.

The five points of a rigid mean face are projected in parallel and scaled, which holds where the camera is far
away beside the depth of a face. The 2 x 3 matrix that maps them to the landmarks with the least squared error
is found in closed form (the POS step of DeMenthon & Davis 1995); the nearest scaled rotation is read from its
singular value decomposition.

Five points say little: a long face and a lowered one look alike. Yaw is good to a few degrees for small
angles and too small for profiles, whose hidden landmarks detectors put on the visible half. Pitch is rough.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_prep.alignment import ARCFACE_112

# How far the tip of the nose lies before eyes and mouth, in distances of the eyes. Of the multiples of 0.05
# these fit MTCNN's landmarks of LFW's 13,233 faces best.
_EYES_BEHIND_NOSE, _MOUTH_BEHIND_NOSE = 0.55, 0.6


def _mean_face() -> NDArray[np.float64]:
    """(5, 3) a mean face that looks into the camera: x to the right, y down, z towards the camera.

    Right and down as the ArcFace template, made symmetric; in distances of the eyes.
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = np.array(ARCFACE_112)
    unit = right_eye[0] - left_eye[0]
    across = np.array([0.5, (right_mouth[0] - left_mouth[0]) / unit / 2])
    down = np.array([left_eye[1] + right_eye[1], left_mouth[1] + right_mouth[1]]) / 2
    eyes_y, mouth_y = (down - nose[1]) / unit
    return np.array(
        [
            (-across[0], eyes_y, -_EYES_BEHIND_NOSE),
            (across[0], eyes_y, -_EYES_BEHIND_NOSE),
            (0.0, 0.0, 0.0),
            (-across[1], mouth_y, -_MOUTH_BEHIND_NOSE),
            (across[1], mouth_y, -_MOUTH_BEHIND_NOSE),
        ]
    )


MEAN_FACE = _mean_face()
_CENTRED = MEAN_FACE - MEAN_FACE.mean(axis=0)
_INVERSE = _CENTRED @ np.linalg.inv(_CENTRED.T @ _CENTRED)


def head_pose(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Yaw, pitch and roll of faces in degrees.

    The head is first lowered by the pitch, then turned by the yaw, then tilted in the picture by the roll, so
    that a rotation of the photo changes the roll alone. Positive: the nose points to the right of the
    picture, the face looks down, the head is tilted clockwise in the picture.

    Args:
        landmarks: (faces, 5, 2) in pixels, (x, y): eyes, nose, corners of the mouth, the left one in the
            picture first.

    Returns:
        (faces, 3); NaN where the landmarks coincide.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    centred = points - points.mean(axis=1, keepdims=True)
    u, scale, vt = np.linalg.svd(centred.transpose(0, 2, 1) @ _INVERSE, full_matrices=False)
    right, down = np.moveaxis(u @ vt, 1, 0)  # rows of the rotation
    ahead = np.cross(right, down)
    yaw = np.arcsin(np.clip(-ahead[:, 0], -1, 1))
    pitch = np.arctan2(-ahead[:, 1], ahead[:, 2])
    roll = np.arctan2(down[:, 0], right[:, 0])
    angles = np.degrees(np.stack([yaw, pitch, roll], axis=1))
    return np.where(scale[:, :1] > 0, angles, np.nan)


def eye_distance(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """(faces,) distance of the eyes' centres in pixels; landmarks as for `head_pose`."""
    points = np.asarray(landmarks, dtype=np.float64)
    return np.asarray(np.linalg.norm(points[:, 1] - points[:, 0], axis=1))


def frontal(yaw_deg: NDArray[np.floating], pitch_deg: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosine of the angle between the directions of face and camera: 1 for a face that looks into it."""
    return np.asarray(np.cos(np.radians(yaw_deg)) * np.cos(np.radians(pitch_deg)))
