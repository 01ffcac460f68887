"""Aligned crops packed in InsightFace's train.rec or in WebDataset shards: a data set that is read in place.

The pack gives what a manifest would say: one row per photo, and a header.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_prep.dataset.already_aligned import MIN_FACE_PX, SAMPLED, Sample
from data_prep.dataset.crops import Crops, Rows
from data_prep.dataset.export import nothing_to_export
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
from data_prep.dataset.manifest_table import changed, stamps_of
from data_prep.dataset.parquet_rows import in_storage, parquet_files, read_rows
from data_prep.dataset.part import Part
from data_prep.errors import InputError
from data_prep.own_files import read_guarded
from data_prep.printed_command import printed_command
from data_prep.progress import say
from data_prep.repeated_text import numbered
from data_prep.sources import SourcePhoto, recordio, webdataset
from data_prep.sources.base import PhotoColumns
from data_prep.sources.other_forms import AS_FILES
from data_prep.sources.record_file import RecordFile
from data_prep.sources.shard_file import read_span
from data_prep.sources.shard_index import DETAILS, ShardPhotos, shards_in_storage
from data_prep.sources.webdataset import read_details, read_shards
from data_prep.storage import RemoteFile, address_of, files_at, read_ranges, refuse_changed

_AT_ONCE = 2**16  # rows


def load_aligned(path: Path, *, field: str = "data") -> AlignedDataset:
    """A data set of aligned crops: a folder made by `faceverif align`, or a pack.

    Packs are a train.rec, WebDataset shards and Parquet files; the latter two may lie in a storage.

    Args:
        path: the folder or file, or its address.
        field: what the user named it with, for the message.

    Raises:
        InputError: none of these, broken, or its pictures are no aligned crops.
    """
    if address_of(path) is not None:
        return _in_storage(path, field=field)
    if not (path / MANIFEST_NAME).is_file():
        if recordio.FORMAT.recognises(path):
            return _of_records(path, field=field)
        if webdataset.FORMAT.recognises(path):
            return _of_shards(path, field=field)
        if holds_parquet(path):
            return _in_storage(in_storage(path), field=field)
    return AlignedDataset.load(path, field=field)


def holds_parquet(path: Path) -> bool:
    """Whether a path of this machine is a Parquet file, or a folder with one."""
    return path.suffix == ".parquet" or (path.is_dir() and any(path.glob("*.parquet")))


def load_part(path: Path, part: Part) -> tuple[AlignedDataset, NDArray[np.int64]]:
    """A data set, and the rows of one part of its aligned crops.

    Of a train.rec nothing but its index and the part itself is read; where the part is too small to tell the
    form of the crops, a sample of the others is.

    Raises:
        InputError: as for `load_aligned`; or a train.rec has no index, or no photo is aligned.
    """
    if address_of(path) is None and not (path / MANIFEST_NAME).is_file() and recordio.FORMAT.recognises(path):
        dataset = _of_records(path, field="data", part=part)
        return dataset, dataset.with_status(Status.ALIGNED)
    dataset = load_aligned(path)
    rows = dataset.with_status(Status.ALIGNED)
    if not len(rows):
        raise nothing_to_export(dataset)
    return dataset, rows[part.span(len(rows))]


def _in_storage(path: Path, *, field: str) -> AlignedDataset:
    names = {file.path.name for file in files_at(path, field=field)}
    if MANIFEST_NAME not in names:
        if any(name.endswith(".tar") for name in names):
            return _of_shards(path, field=field)
        if files := parquet_files(path, field=field):
            return _of_parquet(path, files, field=field)
    raise InputError(
        field,
        "must hold WebDataset shards (.tar) or Parquet files of crops, to be read from a storage",
        got=f"{', '.join(sorted(names)[:3])} at {path}" if names else f"no file right at {path}",
        fix="Write shards, faceverif data export ALIGNED SHARDS, and upload them.",
    )


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
            yield read_span(*self._span(row))

    def _span(self, row: int) -> tuple[Path, int, int]:
        """Shard, offset and size."""
        return self.paths[self.shard[row]], int(self.offsets[row]), int(self.sizes[row])

    def some(self, rows: NDArray[np.int64]) -> Self:
        """Their places."""
        return replace(self, shard=self.shard[rows], offsets=self.offsets[rows], sizes=self.sizes[rows])

    def name(self, row: int) -> str:
        """Shard and byte."""
        return f"the picture at byte {self.offsets[row]:,} of {self.paths[self.shard[row]]}"


@dataclass(frozen=True, kw_only=True)
class StoredShardCrops(ShardCrops):
    """Crops in shards of a storage: read by range, many at a time, and compared with their checksums.

    Attributes:
        files: the shards as they were when they were indexed.
        checksums: (rows,) CRC-32 of each crop.
    """

    files: tuple[RemoteFile, ...]
    checksums: NDArray[np.uint32]

    survives_fork = False

    def contents(self, rows: Rows) -> Iterator[bytes]:
        """The members' contents; empty where one is not what was indexed."""
        found = read_ranges(self._span(row) for row in rows)
        for row, content in zip(rows, found, strict=True):
            yield content if zlib.crc32(content) == self.checksums[row] else b""

    def some(self, rows: NDArray[np.int64]) -> Self:
        """Their places and checksums."""
        return replace(super().some(rows), checksums=self.checksums[rows])

    def unreadable(self, row: int) -> InputError:
        """The error; it says so where the shard has changed, or its storage does not answer."""
        try:
            refuse_changed(self.files[self.shard[row]])
        except InputError as error:
            return error
        return super().unreadable(row)


def _record(records: RecordFile, offset: int) -> bytes:
    try:
        return records.read(offset)
    except InputError:
        return b""


def _of_records(path: Path, *, field: str, part: Part | None = None) -> AlignedDataset:
    photos = recordio.read_records(path, part)
    whole = part is None or len(photos) - len(photos.refused.drop_null()) < SAMPLED
    seen = recordio.read_records(path) if whole and part is not None else photos
    header = _taken_over(path, seen, field=field, whole=whole)
    crops = RecordCrops(
        crop_px=header.crop_px, way_out=_way_out(path), path=photos.path, offsets=photos.offsets
    )
    opened = stamps_of((photos.path,))
    return AlignedDataset(path, header, _table(path, photos), crops, files=(photos.path,), opened=opened)


def _of_shards(path: Path, *, field: str) -> AlignedDataset:
    found = read_shards(path)
    photos, about = found.photos, found.about
    header = _exported_header(path, about, field=field) if about else _taken_over(path, photos, field=field)
    where: dict[str, Any] = {
        "crop_px": header.crop_px,
        "way_out": _way_out(path),
        "paths": photos.paths,
        "shard": photos.shard,
        "offsets": photos.column("offset"),
        "sizes": photos.column("size"),
    }
    table, others = _table(path, photos), partial(_details, path, found.files)
    if not found.files:
        kept: dict[str, Any] = {"files": photos.paths, "opened": stamps_of(photos.paths), "others": others}
        return AlignedDataset(path, header, table, ShardCrops(**where), **kept)
    checksums = photos.table["checksum"].fill_null(0).to_numpy()
    crops = StoredShardCrops(**where, files=found.files, checksums=checksums)
    digest = _digest(about, table, checksums)
    return AlignedDataset(path, header, table, crops, files=(), digest=digest, others=others)


def _details(path: Path, stored: Sequence[RemoteFile], names: set[str]) -> pa.Table:
    """`DETAILS` of shards, which are read again: of many photos they are not kept.

    Args:
        path: of the shards.
        stored: as they were when they were opened, where they lie in a storage.
        names: of the columns.

    Raises:
        InputError: one in the storage has changed.
    """
    if stored and list(stored) != shards_in_storage(path):
        raise changed(path)
    return read_details(path).select(sorted(names))


def _digest(about: Mapping[str, Any], table: pa.Table, checksums: NDArray[np.uint32]) -> str:
    """The name of shards in a storage: hash of what they say, their labels and the crops' checksums."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    digest.update(checksums.tobytes())
    for part in table.select(["photo", "identity"]).to_batches(max_chunksize=_AT_ONCE):
        digest.update(json.dumps(part.to_pydict()).encode())
    return digest.hexdigest()


def _of_parquet(path: Path, files: Sequence[RemoteFile], *, field: str) -> AlignedDataset:
    photos = read_rows(path, files, field=field)
    header = _taken_over(path, photos, field=field, fix=AS_FILES)
    crops = replace(photos.crops, crop_px=header.crop_px)
    return AlignedDataset(path, header, _table(path, photos), crops, files=(), digest=photos.sha256)


def _taken_over(
    path: Path, photos: Sequence[SourcePhoto], *, field: str, whole: bool = True, fix: str | None = None
) -> DatasetHeader:
    """The header of crops that others aligned, as `faceverif align` writes it when it takes them over.

    Args:
        path: the pack.
        photos: in it.
        field: what the user named it with.
        whole: as for `form_of_pack`.
        fix: the way out where they are no crops; None: `faceverif align` reads the pack.

    Raises:
        InputError: they are no crops of a template's side.
    """
    form = form_of_pack(path, Sample(photos), whole=whole)
    if form is None or not form.is_whole:
        raise InputError(
            field,
            "must hold aligned crops of the side of a template, to be used without a manifest",
            got=f"{'other photos' if form is None else f'{form} crops'} in {path}",
            fix=fix or f"Run: {_alignment(path)}",
        )
    return header_for(form.template, policy=form.policy, min_face_px=MIN_FACE_PX)


def _exported_header(path: Path, about: Mapping[str, Any], *, field: str) -> DatasetHeader:
    rule = "shards must open with a header as `faceverif data export` writes it"
    with read_guarded(field, rule, got=path, fix="Export them again."):
        header = HEADER.validate_python(about["header"])
    refuse_other_geometry(header)
    return header


def _table(path: Path, photos: PhotoColumns[Any]) -> pa.Table:
    """What a manifest would say; columns of nothing share one piece of memory.

    Of many photos in shards, `DETAILS` are left out.
    """
    counts = photos.refused.drop_null().value_counts().to_pylist()
    refused = Counter({each["values"]: each["counts"] for each in counts})
    if refused:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in refused.most_common())
        say(f"{refused.total():,} of {len(photos):,} photos in {path} cannot be used: {reasons}")
    status = numbered(pa.array([Status.ALIGNED, Status.FAILED]), photos.refused.is_valid())
    known = {"photo": photos.keys, "identity": photos.identities, "reason": photos.refused, "status": status}
    there = list(SCHEMA)
    if isinstance(photos, ShardPhotos):
        known |= {name: photos.table[name] for name in DETAILS if name in photos.table.column_names}
        there = [each for each in SCHEMA if each.name in known or each.name not in DETAILS]
    columns = [known.get(each.name, _nothing(len(photos), each.type)) for each in there]
    return pa.table(columns, names=[each.name for each in there])


def _nothing(rows: int, kind: pa.DataType) -> pa.ChunkedArray:
    piece = pa.nulls(min(rows, _AT_ONCE), kind)
    pieces = [piece] * (rows // _AT_ONCE) + [piece.slice(0, rows % _AT_ONCE)]
    return pa.chunked_array(pieces, kind)


def _way_out(path: Path) -> str:
    return f"Run `{_alignment(path)}`, which leaves broken crops out and names them; then use its folder."


def _alignment(path: Path) -> str:
    """The command that aligns what lies there; data in a storage are copied first."""
    source = path if address_of(path) is None else Path("COPY-OF") / path.name
    return printed_command("align", source, f"{source}-aligned")
