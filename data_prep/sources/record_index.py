"""The index of a `.rec` file, `train.idx`: a number and an offset per line, for every record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError
from data_prep.sources.record_file import RecordFile

_AT_ONCE = 2**24  # bytes of the file
_ALLOWED = b"0123456789 \t\r\n"
_NEW_LINE, _SPACE, _LONGEST = ord("\n"), ord(" "), 19  # digits, of which 2^63 - 1 has as many


class RecordIndex(NamedTuple):
    """Where each record begins, in the order of the file.

    Attributes:
        numbers: (records,) int64, what the writer numbered them.
        offsets: (records,) int64.
    """

    numbers: NDArray[np.int64]
    offsets: NDArray[np.int64]


def read_index(path: Path, records: RecordFile) -> RecordIndex:
    """What a `.idx` file says; empty without such a file.

    Raises:
        InputError: it lists nothing, a line is no number and offset, or a number or an offset comes twice.
    """
    if not path.exists():
        return RecordIndex(np.empty(0, np.int64), np.empty(0, np.int64))
    # The shortest record is longer than the longest line, so an index never outgrows its records.
    if not path.is_file() or path.stat().st_size > records.size:
        raise unfit_index(records.path, "it is larger than the .rec, or no file")
    parts = [_numbers(lines, records.path) for lines in _lines(path)]
    numbers, offsets = np.concatenate([np.empty((0, 2), np.int64), *parts]).T
    if not len(numbers):
        raise unfit_index(records.path, "an empty file")
    order = np.argsort(offsets, kind="stable")
    numbers, offsets = numbers[order], offsets[order]
    # A number or an offset that comes twice would make photos appear twice, or never.
    if (np.diff(offsets) == 0).any() or (np.diff(np.sort(numbers)) == 0).any():
        raise unfit_index(records.path, "a record listed twice")
    return RecordIndex(numbers, offsets)


def unfit_index(path: Path, got: str) -> InputError:
    """The error for an index that is not that of the `.rec` file."""
    return InputError(
        str(path.with_suffix(".idx")),
        f"must list every record of {path.name} once, a number and an offset per line",
        got=got,
        fix="Fetch both again, or remove the .idx to read the records one after the other.",
    )


def _lines(path: Path) -> Iterator[bytes]:
    """The file in portions of whole lines."""
    with path.open("rb") as file:
        while portion := file.read(_AT_ONCE):
            portion += file.readline()
            yield portion if portion.endswith(b"\n") else portion + b"\n"


def _numbers(lines: bytes, rec: Path) -> NDArray[np.int64]:
    """(lines, 2) what they say; the whole portion is parsed at once, for there are millions of them."""
    characters = np.frombuffer(lines, np.uint8)
    blank = characters <= _SPACE
    begins = np.flatnonzero(~blank & np.concatenate([[True], blank[:-1]]))
    ends = np.flatnonzero(~blank & np.concatenate([blank[1:], [True]]))
    new_lines = np.flatnonzero(characters == _NEW_LINE)
    fields = np.bincount(np.searchsorted(new_lines, begins), minlength=len(new_lines))
    long = (ends - begins + 1 >= _LONGEST).any()
    if lines.translate(None, _ALLOWED) or long or (fields != 2).any():
        raise unfit_index(rec, f"the line {_first_broken(lines)[:60]!r}")
    return np.array(lines.split(), dtype="S19").astype(np.int64).reshape(-1, 2)


def _first_broken(lines: bytes) -> bytes:
    for line in lines.splitlines():
        fields = line.split()
        if len(fields) != 2 or not all(field.isdigit() and len(field) < _LONGEST for field in fields):
            return line
    return b""
