"""Which face detector is used: MTCNN, which needs no file, or a network in the user's .onnx file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.detection.faces import SeenFaces
from data_prep.errors import InputError
from data_prep.file_hash import file_hash
from data_prep.own_files import read_guarded

MTCNN = "mtcnn"
_RULE = "must be mtcnn, or an .onnx file of SCRFD with landmarks or of YuNet"


class FaceDetector(Protocol):
    """Finds faces in photos."""

    def detect(self, photos: Sequence[NDArray[np.uint8]]) -> list[SeenFaces]:
        """The faces of photos, (height, width, 3) RGB each, of any sizes."""


class FileKind(NamedTuple):
    """A kind of face detector whose network lies in the user's file.

    Attributes:
        name: in a data set's header.
        recognises: whether a file with outputs of these names is of this kind.
        load: the detector, of a file and the smallest face that is looked for.
        second_pass: how it searches photos without a face again.
    """

    name: str
    recognises: Callable[[Sequence[str]], bool]
    load: Callable[[Path, int], FaceDetector]
    second_pass: Callable[[], str]


def _yunet(path: Path, min_face_px: int) -> FaceDetector:
    from data_prep.detection.yunet import YuNetDetector

    return YuNetDetector(path, min_face_px)


def _scrfd(path: Path, min_face_px: int) -> FaceDetector:
    from data_prep.detection.scrfd import ScrfdDetector

    return ScrfdDetector(path, min_face_px)


def _second_pass_of_scrfd() -> str:
    from data_prep.detection.scrfd import SECOND_PASS

    return SECOND_PASS


# The first that recognises a file takes it: by names before a mere number.
FILE_KINDS = (
    FileKind(
        "yunet", lambda outputs: {"cls_8", "obj_8", "bbox_8", "kps_8"} <= set(outputs), _yunet, lambda: "none"
    ),
    FileKind("scrfd", lambda outputs: len(outputs) == 9, _scrfd, _second_pass_of_scrfd),
)


def load_detector(name: str, min_face_px: int) -> FaceDetector:
    """A face detector.

    Args:
        name: mtcnn, or the path of an .onnx file.
        min_face_px: smallest face that is looked for, at least 12.

    Raises:
        InputError: the file is of no known kind.
    """
    if name == MTCNN:
        from data_prep.detection.second_pass import TwoPassDetector

        return TwoPassDetector(min_face_px)
    return _kind_of_file(Path(name)).load(Path(name), min_face_px)


def second_pass_of(name: str) -> str:
    """How a face detector searches photos without a face again: for a data set's header."""
    if name != MTCNN:
        return _kind_of_file(Path(name)).second_pass()
    from data_prep.detection.second_pass import SECOND_PASS

    return SECOND_PASS


def described_detector(name: str) -> str:
    """A face detector with the hash of its file: for a data set's header."""
    if name == MTCNN:
        return MTCNN
    return f"{kind_of_detector(name)} {file_hash(Path(name))}"


def kind_of_detector(name: str) -> str:
    """mtcnn, or a kind of file, by the names and the number of the file's outputs; nothing is run.

    Raises:
        InputError: no such file, no ONNX model, or another network.
    """
    return MTCNN if name == MTCNN else _kind_of_file(Path(name)).name


def _kind_of_file(path: Path) -> FileKind:
    if not path.is_file():
        raise _refused(f"{path}, which is no file", fix="Check the path.")
    outputs = _outputs(path)
    for kind in FILE_KINDS:
        if kind.recognises(outputs):
            return kind
    if len(outputs) == 6:
        raise _refused(f"{path}, with 6 outputs and so without landmarks", fix="Take the file with kps.")
    raise _refused(f"{path}, with {counted(len(outputs), 'output')}", fix="Leave --detector out for MTCNN.")


def _outputs(path: Path) -> list[str]:
    import onnx

    fix = "Download it again, or leave --detector out for MTCNN."
    with read_guarded("--detector", _RULE, got=path, fix=fix):
        graph = onnx.load_model(path, format="protobuf", load_external_data=False).graph
    return [output.name for output in graph.output]


def _refused(got: str, *, fix: str) -> InputError:
    return InputError("--detector", _RULE, got=got, fix=fix)
