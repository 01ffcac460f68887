"""Parts of the journal: the rows of one shard each, kept by the worker that did it.

A worker on a cluster may finish its shard when the process that asked for it is gone. The rows are on the
shared storage then, and the next run takes them into its journal.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from data_prep.atomic import refuse_busy, written_whole
from data_prep.dataset.manifest import row_in_line
from data_prep.errors import InputError
from data_prep.prepare.task import Row, Task, as_line
from data_prep.prepare.workers import AlignJob
from data_prep.work.job import Job

PART_ENDING = ".jsonl"
_BUSY_S = 30.0  # for a worker whose run has died: Ray ends it, or it ends its shard


@dataclass(frozen=True)
class KeepingRows(Job[Task, list[Row]]):
    """An alignment that also keeps the rows of each shard beside the crops.

    Attributes:
        align: the alignment.
    """

    align: AlignJob

    @property
    def reads(self) -> tuple[Path, ...]:
        """What the alignment reads."""
        return self.align.reads

    @property
    def writes(self) -> Path:
        """The data set's folder."""
        return self.align.out

    def start(self) -> Callable[[Task], list[Row]]:
        """An aligner, with its networks."""
        align = self.align.start()
        return lambda photos: kept_rows(self.align.out, photos, align)


def kept_rows(
    out: Path, photos: Task, align: Callable[[Task], list[Row]], *, busy_s: float = _BUSY_S
) -> list[Row]:
    """Align a shard and keep its rows; a shard that is kept already is not done again.

    Args:
        out: the data set's folder.
        photos: the shard.
        align: does it.
        busy_s: how long to wait where another process is at the same shard.

    Raises:
        InputError: that process is still at it.
    """
    part = part_of(out, (photo.key for photo in photos))
    _wait_while_busy(part, busy_s)
    kept = rows_of_part(part)
    if kept is not None:
        return kept
    with written_whole(part) as unfinished:  # locked from here on
        rows = align(photos)
        unfinished.write_bytes(b"".join(map(as_line, rows)))
    return rows


def parts_folder(out: Path) -> Path:
    """Where the parts of a data set's journal lie."""
    return out / "parts"


def part_of(out: Path, photos: Iterable[str]) -> Path:
    """The part of the journal with the rows of these photos, which are named by their keys."""
    keys = "\n".join(sorted(photos))
    return parts_folder(out) / f"{hashlib.sha256(keys.encode()).hexdigest()[:16]}{PART_ENDING}"


def rows_of_part(part: Path) -> list[Row] | None:
    """The rows of a part; None where there is none, or it is damaged: the shard is done again then."""
    try:
        lines = part.read_bytes().splitlines()
    except FileNotFoundError:
        return None
    if any(row_in_line(line) is None for line in lines):
        return None
    return [json.loads(line) for line in lines]


def _wait_while_busy(part: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            refuse_busy(part, command="faceverif align", option="OUT")
        except InputError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
        else:
            return
