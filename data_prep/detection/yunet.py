"""YuNet (Wu, Peng & Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023) through OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data_prep.detection.faces import Faces, SeenFaces
from data_prep.errors import InputError, first_line

_SCORE, _IOU, _CANDIDATES = 0.9, 0.3, 5000  # OpenCV's
_LONGEST_PX = 640  # YuNet was trained on faces of 10 to 300 px


class YuNetDetector:
    """YuNet, as OpenCV's model zoo publishes it (`face_detection_yunet_2023mar.onnx`).

    Photos whose longer side is above 640 px are scaled down to it. It runs on the CPU.

    Args:
        path: the .onnx file.
        min_face_px: faces whose longer side is shorter are left out.

    Raises:
        InputError: OpenCV cannot run the file.
    """

    def __init__(self, path: Path, min_face_px: int) -> None:
        self._path, self._min_face_px = path, min_face_px
        try:
            self._network = cv2.FaceDetectorYN.create(str(path), "", (32, 32), _SCORE, _IOU, _CANDIDATES)
        except cv2.error as error:
            raise self._unusable(error) from error
        self._detect(np.zeros((32, 32, 3), np.uint8))  # so that another network is refused before the work

    def detect(self, photos: Sequence[NDArray[np.uint8]]) -> list[SeenFaces]:
        """The faces of photos of any sizes.

        Args:
            photos: (height, width, 3) RGB each.
        """
        found = [self._detect(photo) for photo in photos]
        return [SeenFaces(faces, 1 if len(faces) else None) for faces in found]

    def _detect(self, photo: NDArray[np.uint8]) -> Faces:
        scale = min(1.0, _LONGEST_PX / max(photo.shape[:2]))
        height, width = (max(1, round(side * scale)) for side in photo.shape[:2])
        picture = photo if scale == 1 else cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
        try:
            self._network.setInputSize((width, height))
            _, rows = self._network.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        except cv2.error as error:
            raise self._unusable(error) from error
        found = np.empty((0, 15), np.float32) if rows is None else np.asarray(rows, np.float32)
        places, scores = found[:, :14] / np.float32(scale), found[:, 14]
        keep = places[:, 2:4].max(axis=1, initial=0) >= self._min_face_px
        places, scores = places[keep], scores[keep]
        order = np.argsort(-scores, kind="stable")
        boxes = np.hstack([places[:, :2], places[:, :2] + places[:, 2:4]])
        # OpenCV's "right" is the person's: its first eye is the one on the left, as in `Faces`.
        return Faces(boxes[order], scores[order], places[order, 4:].reshape(-1, 5, 2))

    def _unusable(self, error: cv2.error) -> InputError:
        return InputError(
            "--detector",
            "must be YuNet, which OpenCV can run",
            got=f"{self._path} ({first_line(error)})",
            fix="Download it again, or leave --detector out for MTCNN.",
        )
