"""A CSV of pairs of photos: which are compared, and what is said of a row that names none."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import InputError
from data_prep.text_encoding import read_text

COLUMNS = ("first", "second")
_OPTION = "--pairs"


@dataclass(frozen=True)
class PhotoPair:
    """A row.

    Attributes:
        line: of the file, from 1.
        first, second: as the row names them; empty where it names none.
        folder: what they are relative to.
    """

    line: int
    first: str
    second: str
    folder: Path

    @property
    def paths(self) -> tuple[Path, Path]:
        """Where the photos lie.

        Raises:
            InputError: the row does not name two.
        """
        if not (self.first and self.second):
            raise InputError(
                f"line {self.line}",
                "must name two photos",
                got=self.first or self.second or "none",
                fix="Write them as first,second.",
            )
        return self.folder / self.first, self.folder / self.second


def read_photo_pairs(path: Path) -> list[PhotoPair]:
    """The rows of a CSV with the columns first and second, or without a header; blank lines are left out.

    Args:
        path: UTF-8 text; a comma, a semicolon or a tab separates. Other columns are ignored.

    Raises:
        InputError: not readable as such, or without rows.
    """
    try:
        lines = read_text(path).splitlines()
        delimiter = next((mark for mark in (",", ";", "\t") if lines and mark in lines[0]), ",")
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except (UnicodeDecodeError, csv.Error, IsADirectoryError) as error:
        raise _refused(path, f"{path} ({error})") from error
    cells = [(number, [cell.strip() for cell in row]) for number, row in enumerate(rows, 1)]
    cells = [(number, row) for number, row in cells if any(row)]
    places = (0, 1)
    if cells and set(COLUMNS) <= {cell.lower() for cell in cells[0][1]}:
        header = [cell.lower() for cell in cells.pop(0)[1]]
        places = (header.index(COLUMNS[0]), header.index(COLUMNS[1]))
    if not cells:
        raise _refused(path, f"no row in {path}")
    return [
        PhotoPair(number, _cell(row, places[0]), _cell(row, places[1]), path.parent) for number, row in cells
    ]


def _cell(row: list[str], place: int) -> str:
    return row[place] if place < len(row) else ""


def _refused(path: Path, got: str) -> InputError:
    return InputError(
        _OPTION, "must be a CSV of photos with the columns first,second", got=got, fix="One pair per line."
    )
