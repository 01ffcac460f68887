"""FER2013, faces with one of seven expressions, as the CSV of its challenge."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.errors import InputError, first_line

NAME = "fer2013.csv"
CLASS_NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SIDE_PX = 48

Part = Literal["Training", "PublicTest", "PrivateTest"]
PARTS: tuple[Part, ...] = ("Training", "PublicTest", "PrivateTest")
_COLUMNS = ("emotion", "pixels", "Usage")
_PIXELS = frozenset(map(str, range(256)))
_LONGEST_LINE = 1_000_000  # characters; a whole one has about 9,000
_FIX = "The line is torn or changed: unpack fer2013.csv again."


def read_fer2013(path: Path) -> dict[Part, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Images and labels of each part.

    Args:
        path: fer2013.csv, or the folder with it.

    Returns:
        Part -> (images, 48, 48) and (images,), labels in the order of `CLASS_NAMES`.

    Raises:
        InputError: no such file, other columns, a torn line (which is named), or a part without an image.
    """
    file = path / NAME if path.is_dir() else path
    if not file.is_file():
        fix = f"Download FER2013 (the challenge of 2013 on Kaggle), and give {NAME} or its folder."
        raise InputError("data.path", f"must hold {NAME}", got=path, fix=fix)
    images: dict[Part, list[NDArray[np.uint8]]] = {part: [] for part in PARTS}
    labels: dict[Part, list[int]] = {part: [] for part in PARTS}
    for part, label, image in _rows(file):
        images[part].append(image)
        labels[part].append(label)
    if missing := [part for part in PARTS if not images[part]]:
        got = f"none of {', '.join(missing)} in {file}"
        raise InputError("data.path", "must hold images of every part", got=got, fix="Take the whole file.")
    return {part: (np.stack(images[part]), np.array(labels[part], dtype=np.int64)) for part in PARTS}


def _rows(file: Path) -> Iterator[tuple[Part, int, NDArray[np.uint8]]]:
    try:
        # Spreadsheets put a byte-order mark before the first column.
        with file.open(newline="", encoding="utf-8-sig") as opened:
            csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_LINE))
            reader = csv.DictReader(opened, strict=True)
            if missing := set(_COLUMNS) - set(reader.fieldnames or ()):
                rule = f"must have the columns {', '.join(_COLUMNS)}"
                raise InputError("data.path", rule, got=f"{file} without {min(missing)}", fix=_FIX)
            for row in reader:
                yield _row(row, place=f"{file}, line {reader.line_num}")
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(
            "data.path", "must be a CSV of text", got=f"{file} ({first_line(error)})", fix=_FIX
        ) from None


def _row(row: dict[str | None, str | None], *, place: str) -> tuple[Part, int, NDArray[np.uint8]]:
    emotion, text, usage = (row[column] or "" for column in _COLUMNS)
    if None in row:  # where csv keeps the fields beyond the columns
        raise InputError("data.path", "must have one field per column", got=f"more in {place}", fix=_FIX)
    part = next((known for known in PARTS if known == usage.strip()), None)
    if part is None:
        raise InputError(
            "data.path", f"Usage must be one of {', '.join(PARTS)}", got=f"{usage!r} in {place}", fix=_FIX
        )
    if emotion.strip() not in map(str, range(len(CLASS_NAMES))):
        raise InputError(
            "data.path", "emotion must be a number from 0 to 6", got=f"{emotion!r} in {place}", fix=_FIX
        )
    numbers = text.split()
    values = [int(number) for number in numbers if number in _PIXELS]
    if len(values) != len(numbers) or len(values) != SIDE_PX**2:
        rule = f"pixels must be {SIDE_PX**2:,} numbers from 0 to 255"
        raise InputError(
            "data.path",
            rule,
            got=f"{counted(len(numbers), 'entry')}, {len(values):,} of them such numbers, in {place}",
            fix=_FIX,
        )
    return part, int(emotion), np.array(values, dtype=np.uint8).reshape(SIDE_PX, SIDE_PX)
