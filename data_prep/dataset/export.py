"""Aligned crops -> WebDataset shards, for programs that stream; faceverif reads them in place."""

from __future__ import annotations

import errno
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.atomic import folder_whole, refuse_busy, refuse_file
from data_prep.counted import counted
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.dataset.manifest_table import rows_of
from data_prep.dataset.part import Part
from data_prep.errors import InputError, printable_lines
from data_prep.picture_formats import JPEG_MAGIC
from data_prep.progress import progress
from data_prep.sources.webdataset import ABOUT_NAME

_AT_ONCE = 256
_DESCRIBED = ["photo", "identity", "sha256", "landmarks"]


class _Sample(NamedTuple):
    """A crop and what is known about it, encoded."""

    key: str
    picture: bytes
    about: bytes

    @property
    def ending(self) -> str:
        return "jpg" if self.picture.startswith(JPEG_MAGIC) else "png"

    @property
    def size(self) -> int:
        """Upper bound of its bytes in a tar: two padded members, each with a header."""
        return len(self.picture) + len(self.about) + 4 * tarfile.BLOCKSIZE


@dataclass(frozen=True)
class ExportSummary:
    """What an export wrote.

    Attributes:
        out: the folder.
        crops: how many.
        left_behind: photos without an aligned face, which are not exported.
        shards: how many.
        size_bytes: of all of them.
    """

    out: Path
    crops: int
    left_behind: int
    shards: int
    size_bytes: int

    def text(self) -> str:
        """A line or two for the user."""
        much = f"{counted(self.crops, 'crop')}, {counted(self.shards, 'shard')}"
        lines = [f"{much}, {self.size_bytes / 1e6:,.1f} MB: {self.out}"]
        if self.left_behind:
            lines.append(f"not exported: {counted(self.left_behind, 'photo')} without an aligned face")
        return printable_lines(lines)


def export_webdataset(
    dataset: AlignedDataset,
    out: Path,
    *,
    shard_mb: float,
    rows: NDArray[np.int64] | None = None,
    part: Part | None = None,
) -> ExportSummary:
    """Write the aligned crops of a data set as WebDataset shards, all or nothing.

    The crops keep their bytes. Their order is shuffled, because programs that stream only shuffle among
    neighbours, and a manifest is sorted by identity. The same data set gives the same shards, bit for bit:
    order, names, times and owners are fixed.

    Args:
        dataset: of any kind.
        out: a folder, new or empty.
        shard_mb: largest size of a shard, in MB; a shard holds at least one crop, however large.
        rows: of the aligned crops to write; None: all.
        part: which part of a data set they are. Its shards have names of their own and say so, and they are
            read once those of all parts lie together. A part without crops has one shard, which says so.

    Raises:
        InputError: `out` is not empty, there is nothing to export, or a crop cannot be read.
    """
    aligned = dataset.with_status(Status.ALIGNED)
    rows = aligned if rows is None else rows
    if part is None and not len(rows):
        raise nothing_to_export(dataset)
    _check(out)
    about = {"header": asdict(dataset.header), "photos": len(rows)}
    about |= {} if part is None else {"part": part.number, "parts": part.of}
    name = "shard" if part is None else f"part-{part.number:04d}-of-{part.of:04d}"
    with _all_or_nothing(out) as unfinished:
        samples = _samples(dataset, np.random.default_rng(0).permutation(rows))
        limit_bytes = int(shard_mb * 1e6) - tarfile.RECORDSIZE  # a tar ends with one
        _write_shards(unfinished / name, samples, about=_json(about), limit_bytes=limit_bytes)
    files = list(out.iterdir())
    size = sum(file.stat().st_size for file in files)
    return ExportSummary(out, len(rows), len(dataset) - len(aligned), len(files), size)


def nothing_to_export(dataset: AlignedDataset) -> InputError:
    """The error for a data set without an aligned crop."""
    return InputError(
        "ALIGNED", "must hold aligned crops", got=f"none in {dataset.root}", fix="Align photos."
    )


def _check(out: Path) -> None:
    refuse_file(out, option="OUT")
    if out.is_dir() and any(out.iterdir()):
        raise _not_empty(out)
    refuse_busy(out, command="faceverif data export", option="OUT")


def _not_empty(out: Path) -> InputError:
    return InputError("OUT", "must be a new or empty folder", got=out, fix="Name another.")


@contextmanager
def _all_or_nothing(out: Path) -> Iterator[Path]:
    try:
        with folder_whole(out) as unfinished:
            yield unfinished
    except OSError as error:  # something has filled it meanwhile, such as a second export
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise _not_empty(out) from error


def _samples(dataset: AlignedDataset, rows: NDArray[np.int64]) -> Iterator[_Sample]:
    described = dataset.columns(_DESCRIBED)
    with progress("export", total=len(rows)) as advance:
        for start in range(0, len(rows), _AT_ONCE):
            batch = rows[start : start + _AT_ONCE]
            known = rows_of(described, batch).to_pylist()
            for place, content in enumerate(dataset.crops.contents(batch)):
                if not content:
                    raise dataset.crops.unreadable(batch[place])
                yield _Sample(f"{start + place:09d}", content, _json(known[place]))
            advance(len(batch), "")


def _write_shards(stem: Path, samples: Iterator[_Sample], *, about: bytes, limit_bytes: int) -> None:
    waiting, number = next(samples, None), 0
    while waiting is not None or number == 0:
        with tarfile.open(f"{stem}-{number:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as shard:
            _add(shard, ABOUT_NAME, about)
            opening = shard.offset
            while waiting is not None and (
                shard.offset == opening or shard.offset + waiting.size <= limit_bytes
            ):
                _add(shard, f"{waiting.key}.{waiting.ending}", waiting.picture)
                _add(shard, f"{waiting.key}.json", waiting.about)
                waiting = next(samples, None)
        number += 1


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # with the default time, owner and rights
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))


def _json(values: dict[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True).encode("ascii")
