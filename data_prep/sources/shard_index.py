"""What shards hold, as columns; of shards in a storage it is kept on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.atomic import written_whole
from data_prep.errors import InputError
from data_prep.own_files import user_cache
from data_prep.photos import PhotoError
from data_prep.progress import progress
from data_prep.sources.base import PhotoColumns, Skipped, SourcePhoto
from data_prep.sources.shard_file import ShardFile, StreamedShard, read_span, refused_shard
from data_prep.storage import RemoteFile, address_of, files_at

_ABOUT_KEY = b"faceverif.shard"

INDEX = pa.schema(
    [
        ("key", pa.string()),
        ("identity", pa.string()),
        ("refused", pa.string()),  # why the photo cannot be used; null where it can
        ("name", pa.string()),  # of the picture in the shard
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("checksum", pa.uint32()),  # CRC-32 of the picture; null where it was not read
        ("sha256", pa.string()),  # of the photo that the crop was cut from; null where nobody says it
        ("landmarks", pa.list_(pa.float32(), 10)),
    ]
)


@dataclass(frozen=True, kw_only=True)
class ShardPhoto(SourcePhoto):
    """A photo in a shard.

    Attributes:
        path: the shard.
        offset: where its bytes begin.
        size: how many they are.
        checksum: CRC-32 of them, where they were read to index the shard.
        sha256: of the photo that it was cut from, where the sample's JSON says it.
        landmarks: x, y of five points in that photo, likewise.
    """

    path: Path
    offset: int
    size: int
    checksum: int | None = None
    sha256: str | None = None
    landmarks: list[float] | None = None

    def read(self) -> bytes:
        """The member's content."""
        content = read_span(self.path, self.offset, self.size)
        if len(content) != self.size:
            raise PhotoError("unreadable")
        return content


@dataclass(frozen=True, kw_only=True)
class ShardPhotos(PhotoColumns[ShardPhoto]):
    """The photos of a set of shards.

    Attributes:
        paths: the shards.
        shard: (photos,) in which of them each lies.
        table: the columns of `INDEX` that are not among the others.
    """

    paths: tuple[Path, ...]
    shard: NDArray[np.int32]
    table: pa.Table

    @classmethod
    def of(cls, source: Path, paths: Sequence[Path], rows: pa.Table) -> ShardPhotos:
        """The photos, sorted by key.

        Args:
            source: that they are of, for the message.
            paths: the shards.
            rows: in `INDEX`, and the number of the shard.

        Raises:
            InputError: two photos have one key.
        """
        order = pc.sort_indices(rows["key"])
        columns = {name: _sorted(rows[name], order) for name in rows.column_names if name != "name"}
        keys = columns.pop("key")
        same = pc.equal(keys[1:], keys[:-1])
        if pc.any(same).as_py():
            twice = keys[pc.index(same, True).as_py()]
            raise InputError(
                str(source), "must hold each photo once", got=f"{twice} twice", fix="Keep one of them there."
            )
        identities, refused, shard = (columns.pop(name) for name in ("identity", "refused", "shard"))
        return cls(
            keys=keys,
            identities=identities,
            refused=refused,
            paths=tuple(paths),
            shard=shard.to_numpy(),
            table=pa.table(columns),
        )

    def column(self, name: str) -> NDArray[Any]:
        """(photos,) numbers: offset or size."""
        return self.table[name].to_numpy()

    def _photo(self, place: int) -> ShardPhoto:
        known = {name: self.table[name][place].as_py() for name in self.table.column_names}
        return ShardPhoto(path=self.paths[self.shard[place]], **known, **self._known(place))


def _sorted(column: pa.ChunkedArray, order: pa.Array) -> pa.Array:
    """One column at a time, so that no more than one is in memory twice."""
    if pa.types.is_string(column.type):  # which may hold 2 GB at most, the hashes of 42 million photos more
        column = column.cast(pa.large_string())
    return column.combine_chunks().take(order)


class IndexedShard(NamedTuple):
    """What one shard holds.

    Attributes:
        about: what it says of its export.
        labelled: whether a sample says whom it shows.
        rows: in `INDEX`.
    """

    about: dict[str, Any]
    labelled: bool
    rows: pa.Table


def joined(shards: Sequence[pa.Table]) -> pa.Table:
    """The rows of all shards, with the number of the shard."""
    numbers = (pa.array(np.full(len(rows), number, np.int32)) for number, rows in enumerate(shards))
    return pa.concat_tables(
        rows.append_column("shard", each) for rows, each in zip(shards, numbers, strict=True)
    )


def indexed_in_storage(
    source: Path, skipped: Skipped, index: Callable[[ShardFile, Skipped], IndexedShard]
) -> tuple[list[RemoteFile], list[IndexedShard]]:
    """The shards of a storage and what they hold; one that was indexed before is not read again.

    Args:
        source: the address of a tar, or of the folder of them.
        skipped: takes the members that are no part of a sample.
        index: reads one shard.

    Raises:
        InputError: there is none, or the storage does not answer.
    """
    files = [file for file in files_at(source, field="data") if file.path.suffix == ".tar"]
    if not files:
        raise refused_shard(source, "must hold WebDataset shards, .tar files", "none")
    found = []
    with progress("index", total=len(files), unit="shards") as advance:
        for file in files:
            found.append(_known(file) or _remember(file, index(StreamedShard(file.path), skipped)))
            advance(1, "")
    return files, found


def _known(file: RemoteFile) -> IndexedShard | None:
    """What is remembered of a shard in this version; null where nothing is, or it is damaged."""
    try:
        rows = pq.read_table(_memory(file), page_checksum_verification=True)
        about = json.loads(rows.schema.metadata[_ABOUT_KEY])
        return IndexedShard(about["about"], about["labelled"], rows.cast(INDEX))
    except Exception:  # whatever damage makes a parser raise
        return None


def _remember(file: RemoteFile, indexed: IndexedShard) -> IndexedShard:
    """Keep it; a cache that cannot be written only costs time."""
    about = json.dumps({"about": indexed.about, "labelled": indexed.labelled})
    table = indexed.rows.replace_schema_metadata({_ABOUT_KEY: about.encode()})
    try:
        with written_whole(_memory(file)) as unfinished:
            pq.write_table(table, unfinished, write_page_checksum=True)
    except OSError:
        pass
    return indexed


def _memory(file: RemoteFile) -> Path:
    """Where the index of this version of a shard lies."""
    version = f"{address_of(file.path)} {file.size} {file.written_ns}"
    return user_cache("shards") / f"{hashlib.sha256(version.encode()).hexdigest()}.parquet"
