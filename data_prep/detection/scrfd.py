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

_INPUT_PX = 640  # at most, where the file leaves its size open
_STRIDES_PX = (8, 16, 32)
_SCORE, _IOU = 0.5, 0.4  # InsightFace's
_MEAN, _SCALE = 127.5, 128.0
_BORDER = 0.25  # of the second pass, as a share of the photo's longer side

SECOND_PASS = f"border {_BORDER:g}"


class ScrfdDetector:
    """SCRFD with landmarks, as InsightFace publishes it (`det_10g.onnx`, `scrfd_500m_bnkps.onnx`).

    A photo lies in the top left corner of the network's input, on black. A larger one is scaled down to it. A
    smaller one keeps its size: enlarged, as in InsightFace's code, faces that fill their photo are lost. A
    photo without a face is searched again inside a black border. Both: docs/results/alignment.md. Where the
    file leaves the size of its input open, it is as small as the photo allows.

    Each call of the network has one photo, so that others cannot change what is found in it.

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
        self._sides = [side if isinstance(side, int) else None for side in self._input.shape[2:]]
        self._detect(np.zeros((32, 32, 3), np.uint8))  # so that another network is refused before the work

    def detect(self, photos: Sequence[NDArray[np.uint8]]) -> list[SeenFaces]:
        """The faces of photos of any sizes.

        Args:
            photos: (height, width, 3) RGB each.
        """
        return [self._look(photo) for photo in photos]

    def _look(self, photo: NDArray[np.uint8]) -> SeenFaces:
        faces = self._detect(photo)
        if len(faces):
            return SeenFaces(faces, 1)
        border = round(_BORDER * max(photo.shape[:2]))
        framed = cv2.copyMakeBorder(photo, border, border, border, border, cv2.BORDER_CONSTANT)
        faces = self._detect(np.asarray(framed, np.uint8))
        in_photo = Faces(faces.boxes - border, faces.scores, faces.landmarks - border)
        return SeenFaces(in_photo, 2 if len(faces) else None)

    def _detect(self, photo: NDArray[np.uint8]) -> Faces:
        room = [side or _INPUT_PX for side in self._sides]
        scale = min(1.0, *(most / side for most, side in zip(room, photo.shape[:2], strict=True)))
        height, width = (max(1, round(side * scale)) for side in photo.shape[:2])
        canvas = np.zeros((*self._canvas(height, width), 3), np.uint8)
        # InsightFace's code takes two pixels of each direction, however many there are: fine patterns alias.
        small = photo if scale == 1 else cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
        canvas[:height, :width] = small
        scores, boxes, landmarks = self._read(canvas)
        likely = scores >= _SCORE
        scores, boxes, landmarks = scores[likely], boxes[likely] / scale, landmarks[likely] / scale
        keep = survivors(np.zeros(len(scores), np.int64), boxes, scores, iou=_IOU)
        keep = keep[(boxes[keep, 2:] - boxes[keep, :2]).max(axis=1, initial=0) >= self._min_face_px]
        return Faces(boxes[keep], scores[keep], landmarks[keep])

    def _canvas(self, *picture: int) -> list[int]:
        """Height and width of the input on which a picture of this height and width is laid."""
        coarsest = _STRIDES_PX[-1]
        return [
            fixed or -(-side // coarsest) * coarsest for fixed, side in zip(self._sides, picture, strict=True)
        ]

    def _read(self, canvas: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """All candidates in a picture that is the input: scores (n,), boxes (n, 4), landmarks (n, 5, 2)."""
        pixels = ((canvas.astype(np.float32) - _MEAN) / _SCALE).transpose(2, 0, 1)[None]
        try:
            outputs = self._session.run(None, {self._input.name: np.ascontiguousarray(pixels)})
        except Exception as error:  # onnxruntime has no common exception class
            raise _unusable(self._path, first_line(error)) from error
        parts = [self._at_stride(outputs, stride, canvas.shape[:2]) for stride in _STRIDES_PX]
        return tuple(np.concatenate(each) for each in zip(*parts, strict=True))

    def _at_stride(
        self, outputs: list[Any], stride: int, size: tuple[int, ...]
    ) -> tuple[NDArray[np.float32], ...]:
        rows, columns = (-(-side // stride) for side in size)
        scores, boxes, landmarks = (self._output(outputs, rows * columns, wide) for wide in (1, 4, 10))
        anchors = len(scores) // (rows * columns)
        y, x = np.mgrid[:rows, :columns]
        centre = np.stack([x, y], 2).reshape(-1, 1, 2).repeat(anchors, 1).reshape(-1, 2) * np.float32(stride)
        distances = boxes * stride
        corners = np.hstack([centre - distances[:, :2], centre + distances[:, 2:]])
        return scores[:, 0], corners, centre[:, None] + landmarks.reshape(-1, 5, 2) * stride

    def _output(self, outputs: list[Any], cells: int, wide: int) -> NDArray[np.float32]:
        """The output of (cells x anchors, wide), however the file orders its outputs."""
        for output in outputs:
            if output.shape[-1:] == (wide,) and output.size in (cells * wide, 2 * cells * wide):
                return output.reshape(-1, wide).astype(np.float32)
        shapes = ", ".join(str(output.shape) for output in outputs)
        raise _unusable(self._path, f"outputs of {shapes}, none of {wide} numbers for each of {cells} cells")


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
