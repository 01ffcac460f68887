"""Which detector finds the faces: MTCNN, which needs no file, or a network in the user's .onnx file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data_prep.detection.faces import SeenFaces
from data_prep.errors import InputError, first_line

MTCNN = "mtcnn"
_SCRFD, _YUNET = "scrfd", "yunet"
_RULE = "must be mtcnn, or an .onnx file of SCRFD with landmarks or of YuNet"
_LONGEST_LINE = 200  # characters of what another library says


class Detector(Protocol):
    """Finds faces in photos."""

    def detect(self, photos: Sequence[NDArray[np.uint8]]) -> list[SeenFaces]:
        """The faces of photos, (height, width, 3) RGB each, of any sizes."""


def load_detector(name: str, min_face_px: int) -> Detector:
    """A detector.

    Args:
        name: mtcnn, or the path of an .onnx file.
        min_face_px: smallest face that is looked for, at least 12.

    Raises:
        InputError: the file holds neither SCRFD nor YuNet.
    """
    if name == MTCNN:
        from data_prep.detection.second_pass import TwoPassDetector

        return TwoPassDetector(min_face_px)
    if kind_of_detector(name) == _SCRFD:
        from data_prep.detection.scrfd import ScrfdDetector

        return ScrfdDetector(Path(name), min_face_px)
    from data_prep.detection.yunet import YuNetDetector

    return YuNetDetector(Path(name), min_face_px)


def second_pass_of(name: str) -> str:
    """How a detector searches photos without a face again: for a data set's header."""
    if name != MTCNN:
        return "none"
    from data_prep.detection.second_pass import SECOND_PASS

    return SECOND_PASS


def described_detector(name: str) -> str:
    """A detector with the hash of its file: for a data set's header."""
    if name == MTCNN:
        return MTCNN
    with Path(name).open("rb") as file:
        return f"{kind_of_detector(name)} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def kind_of_detector(name: str) -> str:
    """mtcnn, scrfd or yunet, by the names and the number of a file's outputs; nothing is run.

    Raises:
        InputError: no such file, no ONNX model, or another network.
    """
    if name == MTCNN:
        return MTCNN
    if not Path(name).is_file():
        raise _refused(f"{name}, which is no file", fix="Check the path.")
    outputs = _outputs(Path(name))
    if {"cls_8", "obj_8", "bbox_8", "kps_8"} <= set(outputs):
        return _YUNET
    if len(outputs) == 9:
        return _SCRFD
    if len(outputs) == 6:
        raise _refused(f"{name}, with 6 outputs and so without landmarks", fix="Take the file with kps.")
    raise _refused(f"{name}, with {len(outputs)} outputs", fix="Leave --detector out for MTCNN.")


def _outputs(path: Path) -> list[str]:
    import onnx

    try:
        graph = onnx.load_model(path, format="protobuf", load_external_data=False).graph
    except OSError:  # no rights: the command line says so
        raise
    except Exception as error:  # protobuf's exceptions differ between its versions
        raise _refused(
            f"{path} ({first_line(error)[:_LONGEST_LINE]})",
            fix="Download it again, or leave --detector out for MTCNN.",
        ) from error
    return [output.name for output in graph.output]


def _refused(got: str, *, fix: str) -> InputError:
    return InputError("--detector", _RULE, got=got, fix=fix)
