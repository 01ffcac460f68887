"""What the parent and the worker processes of an alignment hand to each other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from data_prep.detection.choice import MTCNN
from data_prep.photos import UNREADABLE
from data_prep.sources import SourcePhoto

UNUSABLE_NAME = "unusable_name"  # the reason where the system does not take the name of the crop
BY_SYSTEM = (UNREADABLE, UNUSABLE_NAME)  # reasons that say nothing about the photo's content

Row = dict[str, Any]
Task = list[SourcePhoto]


@dataclass(frozen=True)
class AlignSettings:
    """What decides the crops.

    Attributes:
        template: name of the alignment template.
        min_face_px: smallest face to look for.
        allow_huge: take photos over 50 megapixels too.
        detector: mtcnn, or the path of an .onnx file: see `load_detector`.
    """

    template: str = "arcface-112"
    min_face_px: int = 30
    allow_huge: bool = False
    detector: str = MTCNN


def as_line(row: Row) -> bytes:
    """A row as a journal holds it."""
    return json.dumps(row).encode("ascii") + b"\n"
