"""Aligned crops in Parquet files, a row per crop, as the library `datasets` writes them; read by row group.

A file has the column `image`, the encoded picture itself or a struct with its `bytes`, and the column
`identity` or `label`, text or whole numbers. Where the file's metadata name the classes of `datasets`, these
names are the identities. The column `photo`, where there is one, has the keys. Files that are read together
must name the people alike, or one person would count as two.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.dataset.crops import Crops, Rows
from data_prep.errors import InputError
from data_prep.inside import LEAVES_FOLDER, refuse_name_outside
from data_prep.own_files import read_guarded
from data_prep.photos import PhotoError
from data_prep.repeated_text import REPEATED, repeated
from data_prep.sources.base import PhotoColumns, SourcePhoto
from data_prep.sources.labels import by_name_or_none
from data_prep.storage import RemoteFile, address_of, files_at, open_file, refuse_changed

COLUMNS_RULE = (
    "a Parquet file of crops must have the column image (the picture's bytes, or a struct with bytes) and "
    "identity or label (text or whole numbers)"
)
_LARGEST_GROUP = 2**28
_LABELS = ("identity", "label")
_TEXT = (pa.string(), pa.large_string(), pa.string_view())
_BYTES = (pa.binary(), pa.large_binary(), pa.binary_view())


def in_storage(path: Path) -> Path:
    """A path of this machine as an address, so that one reader serves both."""
    return path if address_of(path) is not None else Path(f"file:{os.path.abspath(path)}")


class _Rows(NamedTuple):
    """What one file says of its rows; of the pictures nothing is read."""

    path: Path
    image: str  # the column of the pictures' bytes
    people: str  # the column that names them, and how
    keys: pa.Array
    identities: pa.DictionaryArray
    refused: pa.DictionaryArray
    groups: NDArray[np.int64]  # rows of each row group
    footer_sha256: str


@dataclass(frozen=True, kw_only=True)
class RowGroupCrops(Crops):
    """Crops that are rows of Parquet files.

    Attributes:
        files: as they were when they were opened.
        image: the column of the pictures' bytes.
        place: (rows, 3) int32: the file, the row group in it and the row in that.
    """

    files: tuple[RemoteFile, ...]
    image: str
    place: NDArray[np.int32]
    way_out: str = "Write these rows again, or leave them out."

    survives_fork = False

    def contents(self, rows: Rows) -> Iterator[bytes]:
        """The pictures; each row group that holds one is read once."""
        wanted = self.place[np.asarray(rows, dtype=np.int64)]
        found: list[bytes] = [b""] * len(wanted)
        groups, which = np.unique(wanted[:, :2], axis=0, return_inverse=True)
        for number, (file, group) in enumerate(groups.tolist()):
            places = np.flatnonzero(which == number)
            pictures = _group(self.files[file], group, self.image)
            if pictures is not None:
                for place in places.tolist():
                    found[place] = pictures[int(wanted[place, 2])].as_py() or b""
        return iter(found)

    def some(self, rows: NDArray[np.int64]) -> RowGroupCrops:
        """Their places."""
        return replace(self, place=self.place[rows])

    def name(self, row: int) -> str:
        """File and row."""
        file, group, within = self.place[row].tolist()
        return f"row {within:,} of row group {group:,} of {self.files[file].path}"

    def unreadable(self, row: int) -> InputError:
        """The error; it says so where the file has changed, or its storage does not answer."""
        try:
            refuse_changed(self.files[int(self.place[row, 0])])
        except InputError as error:
            return error
        return super().unreadable(row)


@dataclass(frozen=True, kw_only=True)
class RowPhoto(SourcePhoto):
    """A crop that is a row.

    Attributes:
        crops: that it is of.
        row: which.
    """

    crops: RowGroupCrops
    row: int

    def read(self) -> bytes:
        """The picture's bytes."""
        (content,) = self.crops.contents([self.row])
        if not content:
            raise PhotoError("unreadable")
        return content


@dataclass(frozen=True, kw_only=True)
class RowPhotos(PhotoColumns[RowPhoto]):
    """The rows of Parquet files.

    Attributes:
        crops: their pictures.
        sha256: hash of the files' footers and of all labels.
    """

    crops: RowGroupCrops
    sha256: str

    def _photo(self, place: int) -> RowPhoto:
        return RowPhoto(crops=self.crops, row=place, **self._known(place))


def read_rows(path: Path, files: Sequence[RemoteFile], *, field: str) -> RowPhotos:
    """The rows of Parquet files; labels and keys are read, pictures are not.

    Args:
        path: what the user named.
        files: of it.
        field: what the user named it with.

    Raises:
        InputError: a damaged file, other columns, columns that differ between files, a key that is missing,
            comes twice or leads out of its folder, or no row.
    """
    found = [_rows(file, field=field) for file in files]
    filled = [rows for rows in found if len(rows.keys)]
    if not filled:
        raise _unfit(path, "no row", field=field)
    _refuse_differing(filled, field=field)
    keys = pa.concat_arrays(rows.keys for rows in found)
    _refuse_keys(path, keys, field=field)
    digest = hashlib.sha256("".join(rows.footer_sha256 for rows in found).encode())
    crops = RowGroupCrops(crop_px=0, files=tuple(files), image=filled[0].image, place=_places(found))
    return RowPhotos(
        keys=keys,
        identities=_one_after_another(rows.identities for rows in found),
        refused=_one_after_another(rows.refused for rows in found),
        crops=crops,
        sha256=digest.hexdigest(),
    )


def _refuse_differing(files: Sequence[_Rows], *, field: str) -> None:
    """Files whose columns are called or typed in two ways: one person would stand under two names."""
    first = files[0]
    for other in files:
        if (other.image, other.people) != (first.image, first.people):
            raise InputError(
                field,
                "Parquet files that are read together must have the same columns, and name the people alike",
                got=" and ".join(f"{each.image}, {each.people} in {each.path}" for each in (first, other)),
                fix="Write both in one way, or give the path of one file.",
            )


def _refuse_keys(path: Path, keys: pa.Array, *, field: str) -> None:
    empty = keys.null_count or pc.any(pc.equal(keys, "")).as_py()
    if empty or pc.count_distinct(keys).as_py() != len(keys):
        raise _unfit(path, "a row whose photo has no name" if empty else "a photo twice", field=field)
    leaving = pc.filter(keys, pc.match_substring_regex(keys, LEAVES_FOLDER))
    if len(leaving):
        refuse_name_outside(leaving[0].as_py(), field=f"{field}, {path}")


def _places(files: Sequence[_Rows]) -> NDArray[np.int32]:
    parts = []
    for number, rows in enumerate(files):
        group = np.repeat(np.arange(len(rows.groups)), rows.groups)
        within = np.arange(len(group)) - np.repeat(np.cumsum(rows.groups) - rows.groups, rows.groups)
        parts.append(np.stack([np.full(len(group), number), group, within], axis=1))
    return np.concatenate(parts).astype(np.int32)


def _rows(file: RemoteFile, *, field: str) -> _Rows:
    with (
        read_guarded(field, "must be a whole Parquet file", got=file.path, fix="Fetch or write it again."),
        open_file(file.path, field=field) as opened,
    ):
        try:
            with pq.ParquetFile(opened) as parquet:
                return _read(parquet, file.path, field=field)
        except OSError:  # the file is damaged, or its storage does not answer: then this says so
            files_at(file.path, field=field)
            raise


def _read(parquet: pq.ParquetFile, path: Path, *, field: str) -> _Rows:
    schema = parquet.schema_arrow
    image, label = _columns(schema, path, field=field)
    groups = _group_rows(parquet.metadata, image, path, field=field)
    table = parquet.read(columns=[label, *(["photo"] if "photo" in schema.names else [])])
    keys = table["photo"].combine_chunks() if "photo" in schema.names else _numbered(path.stem, len(table))
    labels, how = _labels(table[label], _class_names(schema, label))
    identities, refused = _named(labels)
    footer = hashlib.sha256(json.dumps(parquet.metadata.to_dict(), default=str).encode())
    footer.update("\0".join(map(str, identities.to_pylist())).encode())
    people = f"{label} ({how})"
    return _Rows(path, image, people, keys.cast(pa.string()), identities, refused, groups, footer.hexdigest())


def _columns(schema: pa.Schema, path: Path, *, field: str) -> tuple[str, str]:
    """The column of the pictures' bytes, and that of the labels."""
    label = next((name for name in _LABELS if name in schema.names), None)
    types = {each.name: each.type for each in schema}
    image = types.get("image")
    is_struct = image is not None and pa.types.is_struct(image) and image.get_field_index("bytes") >= 0
    inner = image.field("bytes").type if image is not None and is_struct else image
    readable = inner is not None and _is_one_of(inner, _BYTES)
    named = label is not None and (pa.types.is_integer(types[label]) or _is_text(types[label]))
    twice = len(types) != len(schema)
    if not readable or label is None or not named or twice:
        raise _unfit(
            path, f"the columns {', '.join(f'{each.name} ({each.type})' for each in schema)}", field=field
        )
    return "image.bytes" if is_struct else "image", label


def _is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text, each in its row or, as pandas writes categories, once."""
    return _is_one_of(kind.value_type if pa.types.is_dictionary(kind) else kind, _TEXT)


def _is_one_of(kind: pa.DataType, known: Sequence[pa.DataType]) -> bool:
    return any(kind.equals(each) for each in known)


def _group_rows(metadata: Any, image: str, path: Path, *, field: str) -> NDArray[np.int64]:
    """Rows of each row group; refused where the pictures of one are too much for the memory."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = range(metadata.num_columns)
    for group in groups:
        size = sum(
            group.column(each).total_uncompressed_size
            for each in columns
            if group.column(each).path_in_schema == image
        )
        if size > _LARGEST_GROUP:
            raise InputError(
                field,
                "a row group may hold 256 MiB of pictures, because one is read for each of its crops",
                got=f"{size / 2**20:,.0f} MiB in {path}",
                fix="Write the file with smaller row groups, such as 100 rows, or as WebDataset shards.",
            )
    return np.array([group.num_rows for group in groups], dtype=np.int64)


def _labels(column: pa.ChunkedArray, names: Sequence[str]) -> tuple[pa.Array, str]:
    """Whom each row shows, and how the column says it.

    Args:
        column: text, or numbers; a negative one is nobody.
        names: of the classes of `datasets`, by number; empty where there are none.
    """
    if _is_text(column.type):
        return column.cast(pa.string()).combine_chunks(), "text"
    signed = pa.types.is_signed_integer(column.type)  # a comparison would make the largest others signed
    numbers = (pc.if_else(pc.less(column, 0), None, column) if signed else column).combine_chunks()
    if names and (pc.max(numbers).as_py() or 0) < len(names):
        return pa.array(names, pa.string()).take(numbers), "numbers of named classes"
    return pc.utf8_lpad(numbers.cast(pa.string()), 6, "0"), "numbers"


def _named(labels: pa.Array) -> tuple[pa.DictionaryArray, pa.DictionaryArray]:
    """Whom each row shows, and why it cannot be used; each label is looked at once."""
    texts = repeated(labels)
    named = [by_name_or_none(text) for text in texts.dictionary.to_pylist()]
    identities = pa.array([each.identity for each in named], pa.string())
    refused = pa.array([each.refused for each in named], pa.string())
    return repeated(identities.take(texts.indices)), repeated(refused.take(texts.indices))


def _one_after_another(columns: Iterable[pa.DictionaryArray]) -> pa.DictionaryArray:
    return pa.chunked_array(list(columns), REPEATED).unify_dictionaries().combine_chunks()


def _class_names(schema: pa.Schema, label: str) -> list[str]:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, TypeError, ValueError):
        return []
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def _numbered(stem: str, count: int) -> pa.Array:
    return pa.array((f"{stem}/{row:09d}" for row in range(count)), pa.string())


def _group(file: RemoteFile, group: int, image: str) -> pa.Array | None:
    """The pictures of a row group; None where it cannot be read, or the file has another size by now."""
    try:
        with open_file(file.path, field="data") as opened:
            if opened.size() != file.size:
                return None
            parquet = pq.ParquetFile(opened, metadata=_footer(file))
            table = parquet.read_row_group(group, columns=[image])
    except (InputError, pa.ArrowException, OSError, ValueError):
        return None
    column = table.column(0).combine_chunks()
    return column.field("bytes") if pa.types.is_struct(column.type) else column


@lru_cache(maxsize=256)
def _footer(file: RemoteFile) -> pq.FileMetaData:
    """Read once per process, not with every crop."""
    with open_file(file.path, field="data") as opened:
        return pq.read_metadata(opened)


def _unfit(path: Path, got: str, *, field: str) -> InputError:
    return InputError(
        field, COLUMNS_RULE, got=f"{got} in {path}", fix="Rename the columns, or write it again with these."
    )


def parquet_files(path: Path, *, field: str) -> list[RemoteFile]:
    """The Parquet files at an address; none where other files lie there.

    Raises:
        InputError: nothing is there, or the storage does not answer.
    """
    return [file for file in files_at(path, field=field) if file.path.suffix == ".parquet"]
