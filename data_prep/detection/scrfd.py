"""SCRFD (Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", 2022) as ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from data_prep.detection.faces import Faces, SeenFaces
from data_prep.detection.suppression import survivors
from data_prep.device import computing_device
from data_prep.errors import InputError, first_line

_INPUT_PX = 640  # where the file leaves its size open
_STRIDES_PX = (8, 16, 32)
_SCORE, _IOU = 0.5, 0.4  # InsightFace's
_MEAN, _SCALE = 127.5, 128.0


class ScrfdDetector:
    """SCRFD with landmarks, as InsightFace publishes it (`det_10g.onnx`, `scrfd_500m_bnkps.onnx`).

    A photo is scaled into the network's input, from the top left corner, on black. One photo a call, so the
    others cannot change what is found in it.

    Args:
        path: the .onnx file, with nine outputs: scores, boxes and landmarks at three strides.
        min_face_px: faces whose longer side is shorter are left out.

    Raises:
        InputError: onnxruntime cannot run the file, or its outputs are others.
    """

    def __init__(self, path: Path, min_face_px: int) -> None:
        self._path, self._min_face_px = path, min_face_px
        self._session = _open(path)
        self._input = self._session.get_inputs()[0]
        sides = [side if isinstance(side, int) else _INPUT_PX for side in self._input.shape[2:]]
        self._height, self._width = sides
        self._read(np.zeros((*sides, 3), np.uint8))  # so that another network is refused before the work

    def detect(self, photos: Sequence[NDArray[np.uint8]]) -> list[SeenFaces]:
        """The faces of photos of any sizes.

        Args:
            photos: (height, width, 3) RGB each.
        """
        found = [self._detect(photo) for photo in photos]
        return [SeenFaces(faces, 1 if len(faces) else None) for faces in found]

    def _detect(self, photo: NDArray[np.uint8]) -> Faces:
        height, width = photo.shape[:2]
        scale = min(self._height / height, self._width / width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        canvas = np.zeros((self._height, self._width, 3), np.uint8)
        canvas[: size[1], : size[0]] = cv2.resize(photo, size)
        scores, boxes, landmarks = self._read(canvas)
        likely = scores >= _SCORE
        scores, boxes, landmarks = scores[likely], boxes[likely] / scale, landmarks[likely] / scale
        keep = survivors(np.zeros(len(scores), np.int64), boxes, scores, iou=_IOU)
        keep = keep[(boxes[keep, 2:] - boxes[keep, :2]).max(axis=1, initial=0) >= self._min_face_px]
        return Faces(boxes[keep], scores[keep], landmarks[keep])

    def _read(self, canvas: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """All candidates in a picture of the input's size: scores (n,), boxes (n, 4), landmarks (n, 5, 2)."""
        pixels = ((canvas.astype(np.float32) - _MEAN) / _SCALE).transpose(2, 0, 1)[None]
        try:
            outputs = self._session.run(None, {self._input.name: np.ascontiguousarray(pixels)})
        except Exception as error:  # onnxruntime has no common exception class
            raise _unusable(self._path, first_line(error)) from error
        parts = [self._at_stride(outputs, stride) for stride in _STRIDES_PX]
        return tuple(np.concatenate(each) for each in zip(*parts, strict=True))

    def _at_stride(self, outputs: list[Any], stride: int) -> tuple[NDArray[np.float32], ...]:
        rows, columns = -(-self._height // stride), -(-self._width // stride)
        scores, boxes, landmarks = (self._output(outputs, stride, wide) for wide in (1, 4, 10))
        anchors = len(scores) // (rows * columns)
        y, x = np.mgrid[:rows, :columns]
        centre = np.stack([x, y], 2).reshape(-1, 1, 2).repeat(anchors, 1).reshape(-1, 2) * np.float32(stride)
        distances = boxes * stride
        corners = np.hstack([centre - distances[:, :2], centre + distances[:, 2:]])
        return scores[:, 0], corners, centre[:, None] + landmarks.reshape(-1, 5, 2) * stride

    def _output(self, outputs: list[Any], stride: int, wide: int) -> NDArray[np.float32]:
        """The output of (cells x anchors, wide) at a stride, however the file orders its outputs."""
        cells = -(-self._height // stride) * -(-self._width // stride)
        for output in outputs:
            if output.shape[-1:] == (wide,) and output.size in (cells * wide, 2 * cells * wide):
                return output.reshape(-1, wide).astype(np.float32)
        shapes = ", ".join(str(output.shape) for output in outputs)
        raise _unusable(self._path, f"outputs of {shapes}, none of {wide} numbers a cell at stride {stride}")


def _open(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # each worker process has one core
    options.log_severity_level = 4  # what goes wrong comes as an exception
    try:
        session = onnxruntime.InferenceSession(path, options, providers=_providers())
    except Exception as error:  # onnxruntime has no common exception class
        raise _unusable(path, first_line(error)) from error
    shape = session.get_inputs()[0].shape
    if len(shape) != 4 or shape[1] != 3:
        raise _unusable(path, f"an input of {shape}")
    return session


def _providers() -> list[Any]:
    import onnxruntime

    device, cpu, cuda = computing_device(), "CPUExecutionProvider", "CUDAExecutionProvider"
    if device.type != "cuda" or cuda not in onnxruntime.get_available_providers():
        return [cpu]
    return [(cuda, {"device_id": device.index or 0, "use_tf32": 0}), cpu]


def _unusable(path: Path, why: str) -> InputError:
    return InputError(
        "--detector",
        "must be SCRFD with landmarks, which onnxruntime can run",
        got=f"{path} ({why})",
        fix="Download it again, or leave --detector out for MTCNN.",
    )
