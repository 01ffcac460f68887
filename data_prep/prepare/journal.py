"""The journal of an alignment: the rows so far, which let a killed run continue."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from data_prep.dataset.manifest import (
    JOURNAL_NAME,
)
from data_prep.detection.cascade import POLICY
from data_prep.errors import InputError
from data_prep.prepare.task import AlignSettings, Row


class Journal:
    """The rows so far, as lines of a file that is only ever appended to.

    In memory it keeps where each photo's line begins, not the row: half a million photos stay small.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b")
        self._begins: dict[str, int] = {}

    @classmethod
    @contextmanager
    def opened(cls, out: Path, *, source: Path, settings: AlignSettings, policy: str) -> Iterator[Journal]:
        """The journal of `out`, begun or continued.

        Raises:
            InputError: it was begun for another source, with other settings or by another policy.
        """
        journal = cls(out / JOURNAL_NAME)
        try:
            journal._continue({"source": str(source.resolve()), **asdict(settings), "policy": policy})
            yield journal
        finally:
            journal._file.close()

    def __contains__(self, key: object) -> bool:
        return key in self._begins

    def __len__(self) -> int:
        return len(self._begins)

    def row(self, key: str) -> Row:
        """The row of a photo that is in the journal."""
        self._file.seek(self._begins[key])
        return json.loads(self._file.readline())

    def add(self, rows: list[Row]) -> None:
        """Take rows whose crops are on disk."""
        for row in rows:
            self._begins[row["photo"]] = self._append(row)
        self._file.flush()

    def _continue(self, header: Row) -> None:
        """Read what is there; a line that a kill tore off is cut from the file."""
        self._file.seek(0)
        begin = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                self._file.truncate(begin)
                break
            if begin == 0:
                _require_same(json.loads(line), header)
            else:
                self._begins[json.loads(line)["photo"]] = begin
            begin += len(line)
        if begin == 0:
            self._append(header)
            self._file.flush()

    def _append(self, line: Row) -> int:
        begin = self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps(line).encode("ascii") + b"\n")
        return begin


def _require_same(begun: Row, header: Row) -> None:
    begun = {"policy": POLICY} | begun  # journals that were begun before there was another one
    if begun != header:
        differs = ", ".join(f"{key} {begun.get(key)}" for key in header if begun.get(key) != header[key])
        raise InputError(
            "OUT", "must have been begun with the same SRC and options", got=differs, fix="Name another OUT."
        )
