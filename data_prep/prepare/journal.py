"""The journal of an alignment: the rows so far, which let a killed run continue."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data_prep.counted import counted
from data_prep.dataset.manifest import JOURNAL_NAME, row_in_line
from data_prep.detection.choice import MTCNN
from data_prep.detection.faces import POLICY
from data_prep.errors import InputError
from data_prep.own_files import read_guarded
from data_prep.own_names import LOCK_NAME
from data_prep.prepare.parts import PART_ENDING, rows_of_part
from data_prep.prepare.task import BY_SYSTEM, Row, as_line
from data_prep.progress import say
from data_prep.system_errors import naming_full_disk


class Journal:
    """The rows so far, as lines of a file that is only ever appended to.

    In memory it keeps where each photo's line begins, not the row: half a million photos stay small.

    Args:
        path: the file.

    Attributes:
        refused_by_system: photo -> the reason, one of `BY_SYSTEM`, of those that failed for it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a+b")
        self._begins: dict[str, int] = {}
        self.refused_by_system: dict[str, str] = {}

    @classmethod
    @contextmanager
    def opened(cls, out: Path, header: Row) -> Iterator[Journal]:
        """The journal of `out`, begun or continued; removed where the command ends before its first photo.

        Args:
            out: the data set's folder.
            header: source, settings and policies: what all rows have in common; plain JSON.

        Raises:
            InputError: it was begun with another header, or its first line is damaged.
        """
        journal = cls(out / JOURNAL_NAME)
        with journal._file:
            journal._continue(header)
            try:
                yield journal
            finally:
                if not journal:
                    _remove_alone(out)

    def __contains__(self, key: object) -> bool:
        return key in self._begins

    def __len__(self) -> int:
        return len(self._begins)

    def photos(self) -> Iterable[str]:
        """The keys of the photos that have a row, in the order of the journal."""
        return self._begins

    def row(self, key: str) -> Row:
        """The row of a photo that is in the journal."""
        self._file.seek(self._begins[key])
        return json.loads(self._file.readline())

    def forget(self, photo: str) -> None:
        """Count a photo as not done. Its line stays in the file, and a later line counts instead of it."""
        del self._begins[photo]
        self.refused_by_system.pop(photo, None)

    def add(self, rows: list[Row]) -> None:
        """Take rows whose crops are on disk."""
        with naming_full_disk(self._path):
            for row in rows:
                self._note(row["photo"], self._append(row), row["reason"])
            self._file.flush()

    def take_parts(self, folder: Path) -> None:
        """Take the rows that workers kept, and remove their folder, which need not be there."""
        for part in sorted(folder.glob(f"*{PART_ENDING}")):
            self.add([row for row in rows_of_part(part) or [] if row["photo"] not in self])
            part.unlink()
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)

    def _continue(self, header: Row) -> None:
        """Read what is there; a last line that a kill cut short is removed from the file."""
        self._file.seek(0)
        begin, damaged = 0, 0
        for line in self._file:
            if not line.endswith(b"\n"):
                self._file.truncate(begin)
                break
            if begin == 0:
                self._require_same(line, header)
            elif (row := row_in_line(line)) is not None:
                self._note(row.photo, begin, row.reason)
            else:
                damaged += 1
            begin += len(line)
        if damaged:
            say(f"{self._path}: {counted(damaged, 'damaged line')}, whose photos are aligned again")
        if begin == 0:
            with naming_full_disk(self._path):
                self._append(header)
                self._file.flush()

    def _note(self, photo: str, begin: int, reason: str | None) -> None:
        self._begins[photo] = begin
        if reason in BY_SYSTEM:
            self.refused_by_system[photo] = reason
        else:
            self.refused_by_system.pop(photo, None)

    def _append(self, line: Row) -> int:
        begin = self._file.seek(0, os.SEEK_END)
        self._file.write(as_line(line))
        return begin

    def _require_same(self, line: bytes, header: Row) -> None:
        with read_guarded(
            "OUT", "must hold a whole journal", got=self._path, fix="Delete that folder, or name another OUT."
        ):
            # Earlier versions, which had one policy, pass and detector, do not name them.
            begun: Row = {"policy": POLICY, "second_pass": "none", "detector": MTCNN} | json.loads(line)
        if begun != header:
            differs = ", ".join(f"{key} {begun.get(key)}" for key in header if begun.get(key) != header[key])
            raise InputError(
                "OUT",
                "must have been begun with the same SOURCE and options, by this version",
                got=differs or f"other options in {self._path}",
                fix="Name another OUT.",
            )


def _remove_alone(out: Path) -> None:
    """Remove a journal beside which nothing lies but a lock, so that other options may begin there."""
    with suppress(OSError):  # storage that is gone must not hide the error that ends the command
        if {path.name for path in out.iterdir()} == {JOURNAL_NAME, LOCK_NAME}:
            (out / JOURNAL_NAME).unlink()
