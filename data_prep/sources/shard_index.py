"""What shards hold, as columns; of shards in a storage it is kept on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from data_prep.repeated_text import repeated
from data_prep.sources.base import PhotoColumns, Skipped, SourcePhoto
from data_prep.sources.shard_file import ShardFile, StreamedShard, read_span, refused_shard
from data_prep.storage import RemoteFile, address_of, files_at

_ABOUT_KEY = b"faceverif.shard.2"  # another number for another reading of the same shard

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
_REPEATED = ("identity", "refused")
DETAILS = ("sha256", "landmarks")  # three fifths of the bytes, which only an export reads
_MOST_WITH_DETAILS = 10_000  # photos


@dataclass(frozen=True, kw_only=True)
class ShardPhoto(SourcePhoto):
    """A photo in a shard.

    Attributes:
        path: the shard.
        offset: where its bytes begin.
        size: how many they are.
    """

    path: Path
    offset: int
    size: int

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
        table: offset, size, checksum and, of a small set, `DETAILS`, as in `INDEX`.
    """

    paths: tuple[Path, ...]
    shard: NDArray[np.int32]
    table: pa.Table

    @classmethod
    def of(cls, source: Path, paths: Sequence[Path], rows: dict[str, pa.ChunkedArray]) -> ShardPhotos:
        """The photos, sorted by key.

        Args:
            source: that they are of, for the message.
            paths: the shards.
            rows: columns of `INDEX`, and the number of the shard. They are taken out one by one, so that no
                more than one is in memory twice.

        Raises:
            InputError: two photos have one key.
        """
        order = pc.sort_indices(rows["key"])
        columns = {name: _sorted(rows.pop(name), order) for name in list(rows)}
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
        where = {name: self.table[name][place].as_py() for name in ("offset", "size")}
        return ShardPhoto(path=self.paths[self.shard[place]], **where, **self._known(place))


def _sorted(column: pa.ChunkedArray, order: pa.Array) -> pa.Array:
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


def joined(shards: Iterable[IndexedShard]) -> tuple[list[Mapping[str, Any]], pa.Table]:
    """What each shard says of its export, and the rows of all, with the number of the shard.

    The names of pictures are left out where samples have labels, and `DETAILS` of a large set.
    """
    abouts: list[Mapping[str, Any]] = []
    parts: list[pa.Table] = []
    photos, needless = 0, set[str]()
    for number, shard in enumerate(shards):
        abouts.append(shard.about)
        photos += len(shard.rows)
        more = {"name"} if shard.labelled else set[str]()
        more |= set(DETAILS) if photos > _MOST_WITH_DETAILS else set()
        if not more <= needless:
            needless |= more
            parts = [_without(part, needless) for part in parts]
        parts.append(_without(_numbered(shard.rows, number), needless))
    return abouts, pa.concat_tables(parts).unify_dictionaries()


def details(shards: Iterable[IndexedShard]) -> pa.Table:
    """The columns `DETAILS` of all shards, sorted by key."""
    rows = pa.concat_tables(shard.rows.select(["key", *DETAILS]) for shard in shards)
    order = pc.sort_indices(rows["key"])
    return pa.table({name: _sorted(rows[name], order) for name in DETAILS})


def _numbered(rows: pa.Table, number: int) -> pa.Table:
    for name in _REPEATED:
        rows = rows.set_column(rows.schema.get_field_index(name), name, repeated(rows[name]))
    return rows.append_column("shard", pa.array(np.full(len(rows), number, np.int32)))


def _without(rows: pa.Table, needless: set[str]) -> pa.Table:
    return rows.select([name for name in rows.column_names if name not in needless])


def shards_in_storage(source: Path) -> list[RemoteFile]:
    """The shards at the address of a tar, or of the folder of them.

    Raises:
        InputError: there is none, or the storage does not answer.
    """
    files = [file for file in files_at(source, field="data") if file.path.suffix == ".tar"]
    if not files:
        raise refused_shard(source, "must hold WebDataset shards, .tar files", "none")
    return files


def indexed_in_storage(
    files: Sequence[RemoteFile], skipped: Skipped, index: Callable[[ShardFile, Skipped], IndexedShard]
) -> Iterator[IndexedShard]:
    """What the shards of a storage hold; one that was indexed before is not read again.

    Args:
        files: the shards.
        skipped: takes the members that are no part of a sample.
        index: reads one shard.

    Raises:
        InputError: the storage does not answer.
    """
    with progress("index", total=len(files), unit="shards") as advance:
        for file in files:
            yield _known(file) or _remember(file, index(StreamedShard(file.path), skipped))
            advance(1, "")


def _known(file: RemoteFile) -> IndexedShard | None:
    """What is remembered of a shard in this version; None where nothing is, or it is damaged."""
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
