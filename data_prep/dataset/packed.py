"""Aligned crops packed in InsightFace's train.rec or in WebDataset shards: a data set that is read in place.

The pack gives what a manifest would say: one row per photo, and a header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_prep.dataset.already_aligned import MIN_FACE_PX, Sample
from data_prep.dataset.crops import Crops, Rows
from data_prep.dataset.form_memory import form_of_pack
from data_prep.dataset.manifest import (
    HEADER,
    MANIFEST_NAME,
    SCHEMA,
    AlignedDataset,
    DatasetHeader,
    Status,
    header_for,
    refuse_other_geometry,
)
from data_prep.errors import InputError
from data_prep.own_files import read_guarded
from data_prep.progress import say
from data_prep.sources import SourcePhoto, recordio, webdataset
from data_prep.sources.record_file import RecordFile
from data_prep.sources.webdataset import ShardPhoto, read_shards, read_span


def load_aligned(path: Path, *, field: str = "data") -> AlignedDataset:
    """A data set of aligned crops: a folder made by `faceverif align`, a train.rec, or WebDataset shards.

    Args:
        path: the folder or file.
        field: what the user named it with, for the message.

    Raises:
        InputError: none of these, broken, or its pictures are no aligned crops.
    """
    if not (path / MANIFEST_NAME).is_file():
        if recordio.FORMAT.recognises(path):
            return _of_records(path, field=field)
        if webdataset.FORMAT.recognises(path):
            return _of_shards(path, field=field)
    return AlignedDataset.load(path, field=field)


@dataclass(frozen=True, kw_only=True)
class RecordCrops(Crops):
    """Crops that are records.

    Attributes:
        path: the `.rec`.
        offsets: (rows,) where each record begins.
    """

    path: Path
    offsets: NDArray[np.int64]

    def contents(self, rows: Rows) -> Iterator[bytes]:
        """The records' contents; the file is opened once for all of them."""
        try:
            with RecordFile(self.path) as records:
                for row in rows:
                    yield _record(records, int(self.offsets[row]))
        except InputError:  # it is gone since it was indexed
            yield from (b"" for _ in rows)

    def some(self, rows: NDArray[np.int64]) -> RecordCrops:
        """Their offsets."""
        return replace(self, offsets=self.offsets[rows])

    def name(self, row: int) -> str:
        """File and byte."""
        return f"the record at byte {self.offsets[row]:,} of {self.path}"


@dataclass(frozen=True, kw_only=True)
class ShardCrops(Crops):
    """Crops that are members of shards.

    Attributes:
        paths: the shards.
        shard: (rows,) in which of them each crop lies.
        offsets: (rows,) where it begins.
        sizes: (rows,) bytes.
    """

    paths: tuple[Path, ...]
    shard: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def contents(self, rows: Rows) -> Iterator[bytes]:
        """The members' contents."""
        for row in rows:
            yield read_span(self.paths[self.shard[row]], int(self.offsets[row]), int(self.sizes[row]))

    def some(self, rows: NDArray[np.int64]) -> ShardCrops:
        """Their places."""
        return replace(self, shard=self.shard[rows], offsets=self.offsets[rows], sizes=self.sizes[rows])

    def name(self, row: int) -> str:
        """Shard and byte."""
        return f"the picture at byte {self.offsets[row]:,} of {self.paths[self.shard[row]]}"


def _record(records: RecordFile, offset: int) -> bytes:
    try:
        return records.read(offset).content
    except InputError:
        return b""


def _of_records(path: Path, *, field: str) -> AlignedDataset:
    photos = recordio.read_records(path)
    header = _taken_over(path, photos, field=field)
    crops = RecordCrops(
        crop_px=header.crop_px,
        way_out=_way_out(path),
        path=photos.path,
        offsets=photos.offsets,
    )
    return AlignedDataset(path, header, _table(path, photos), crops, files=(photos.path,))


def _of_shards(path: Path, *, field: str) -> AlignedDataset:
    photos, about, _ = read_shards(path)
    header = _exported_header(path, about, field=field) if about else _taken_over(path, photos, field=field)
    paths = sorted({photo.path for photo in photos})
    number = {shard: place for place, shard in enumerate(paths)}
    crops = ShardCrops(
        crop_px=header.crop_px,
        way_out=_way_out(path),
        paths=tuple(paths),
        shard=np.array([number[photo.path] for photo in photos], dtype=np.int32),
        offsets=np.array([photo.offset for photo in photos], dtype=np.int64),
        sizes=np.array([photo.size for photo in photos], dtype=np.int64),
    )
    return AlignedDataset(path, header, _table(path, photos), crops, files=tuple(paths))


def _taken_over(path: Path, photos: Sequence[SourcePhoto], *, field: str) -> DatasetHeader:
    """The header of crops that others aligned, as `faceverif align` writes it when it takes them over."""
    form = form_of_pack(path, Sample(photos))
    if form is None or not form.is_whole:
        raise InputError(
            field,
            "must hold aligned crops of the side of a template, to be used without a manifest",
            got=f"{'other photos' if form is None else f'{form} crops'} in {path}",
            fix=f"Run: faceverif align {path} {path}-aligned",
        )
    return header_for(form.template, policy=form.policy, min_face_px=MIN_FACE_PX)


def _exported_header(path: Path, about: Mapping[str, Any], *, field: str) -> DatasetHeader:
    rule = "shards must open with a header as `faceverif data export` writes it"
    with read_guarded(field, rule, got=path, fix="Export them again."):
        header = HEADER.validate_python(about["header"])
    refuse_other_geometry(header)
    return header


def _table(path: Path, photos: Sequence[SourcePhoto]) -> pa.Table:
    refused = Counter(photo.refused for photo in photos if photo.refused is not None)
    if refused:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in refused.most_common())
        say(f"{refused.total():,} of {len(photos):,} photos in {path} cannot be used: {reasons}")
    return pa.Table.from_pylist([_row(photo) for photo in photos], schema=SCHEMA)


def _row(photo: SourcePhoto) -> dict[str, Any]:
    row: dict[str, Any] = {
        "photo": photo.key,
        "identity": photo.identity,
        "status": Status.ALIGNED if photo.refused is None else Status.FAILED,
        "reason": photo.refused,
    }
    if isinstance(photo, ShardPhoto):
        row |= {"sha256": photo.sha256, "landmarks": photo.landmarks}
    return row


def _way_out(path: Path) -> str:
    command = f"faceverif align {path} {path}-aligned"
    return f"Run `{command}`, which leaves broken crops out and names them; then use its folder."
