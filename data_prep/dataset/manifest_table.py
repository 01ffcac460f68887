"""The columns of a manifest, and how they are read from a file that may be damaged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.errors import InputError
from data_prep.inside import LEAVES_FOLDER, refuse_name_outside
from data_prep.quality.names import QUALITY_COLUMNS
from data_prep.repeated_text import holds, repeated

MANIFEST_RULE = "the manifest must be one that `faceverif align` wrote"
MANIFEST_FIX = "Align the photos again into an empty folder."
ROWS_AT_ONCE = 10_000

SCHEMA = pa.schema(
    [
        ("photo", pa.string()),  # path below the source folder, with forward slashes: the key
        ("identity", pa.string()),
        ("crop", pa.string()),  # path below the data set's folder; null where there is none
        ("sha256", pa.string()),  # of the source photo's bytes
        ("crop_sha256", pa.string()),  # of the crop's bytes; null too where an earlier version aligned
        ("status", pa.string()),
        ("reason", pa.string()),  # null for an aligned photo
        ("width", pa.int32()),  # of the upright photo
        ("height", pa.int32()),
        ("box", pa.list_(pa.float32(), 4)),  # x1, y1, x2, y2 in photo pixels
        ("landmarks", pa.list_(pa.float32(), 10)),  # x, y of five points in photo pixels
        ("score", pa.float32()),  # the detector's, of the chosen face
        ("faces", pa.int32()),  # how many the detector saw
        ("detection_pass", pa.int8()),  # the pass that found the face, 1 or 2; null: none, or not known
        # Of an aligned face; null where an earlier version aligned, or a crop came without landmarks.
        ("eye_distance_px", pa.float32()),  # in photo pixels
        ("yaw_deg", pa.float32()),  # positive: to the right of the picture; see `data_prep.quality.pose`
        ("pitch_deg", pa.float32()),  # positive: looks down
        ("roll_deg", pa.float32()),  # positive: clockwise in the picture
        ("sharpness", pa.float32()),  # of the crop: variance of the Laplacian
    ]
)
_NEWER_COLUMNS = {"crop_sha256", "detection_pass", *QUALITY_COLUMNS}  # earlier versions did not write them
# Training and verification read no others, which are three quarters of a manifest's bytes.
_IN_MEMORY = ("photo", "identity", "crop", "status", "reason")
_REPEATED = {"identity", "status", "reason"}  # text that stands in memory once, with a number per row
_ROWS_PER_CHUNK = 100_000


class Status(StrEnum):
    """What became of a photo."""

    ALIGNED = "aligned"
    NO_FACE = "no_face"  # has a centre crop: the fallback of verification, never used for training
    FAILED = "failed"  # has no crop; the reason says why


class Stamp(NamedTuple):
    """By what a file is seen to have changed."""

    size: int
    mtime_ns: int


def stamps_of(files: Iterable[Path]) -> tuple[Stamp, ...]:
    """Size and time of the last change of each file; a file that is gone has neither."""
    return tuple(map(_stamp, files))


def _stamp(file: Path) -> Stamp:
    try:
        found = file.stat()
    except OSError:
        return Stamp(-1, -1)
    return Stamp(found.st_size, found.st_mtime_ns)


def foreign(path: Path, why: str, *, field: str) -> InputError:
    """The error for a file that is no manifest of ours."""
    return InputError(field, MANIFEST_RULE, got=f"{path} ({why})", fix=MANIFEST_FIX)


def changed(root: Path) -> InputError:
    """The error for a data set that another command has written since it was opened."""
    return InputError(
        "data",
        "a data set must stay as it is while it is in use",
        got=f"{root}, which has changed since it was opened",
        fix="Run the same command again.",
    )


def read_checked(path: Path, *, field: str) -> pa.Table:
    """The columns that stay in memory, identities and statuses as `REPEATED`; the others are only checked.

    A small manifest stays in memory as a whole.

    Raises:
        InputError: a column is missing or of another type; a damaged file raises whatever its parser does.
    """
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        there = set(file.schema_arrow.names)
        missing = [name for name in SCHEMA.names if name not in there | _NEWER_COLUMNS]
        if missing:
            raise foreign(path, f"no column {', '.join(missing)}", field=field)
        kept = SCHEMA.names if file.metadata.num_rows <= ROWS_AT_ONCE else _IN_MEMORY
        try:
            return _in_memory(file, kept)
        except (pa.ArrowException, ValueError) as error:
            raise foreign(path, f"columns of other types: {error}", field=field) from error


def _in_memory(file: pq.ParquetFile, kept: Sequence[str]) -> pa.Table:
    """All rows, in chunks whose buffers are as long as they must be; those that are read into are longer."""
    names = [name for name in SCHEMA.names if name in file.schema_arrow.names]
    chunks, parts = [], [stored(SCHEMA.empty_table()).select(kept)]
    for group in range(file.num_row_groups):  # `iter_batches` keeps what it has read
        part = file.read_row_group(group, columns=names)
        part.validate(full=True)
        parts.append(stored(_of_schema(part, SCHEMA)).select(kept))
        if sum(map(len, parts)) >= _ROWS_PER_CHUNK:
            chunks.append(_joined(parts))
            parts = parts[:1]
            pa.default_memory_pool().release_unused()  # else it keeps several times what stays
    return pa.concat_tables([*chunks, _joined(parts)]).unify_dictionaries()


def _joined(parts: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(parts).unify_dictionaries().combine_chunks()


def stored(table: pa.Table) -> pa.Table:
    """Columns of `SCHEMA` as they are held in memory."""
    for place, name in enumerate(table.column_names):
        if name in _REPEATED:
            column = _named(table[name]) if name == "identity" else table[name]
            table = table.set_column(place, name, repeated(column))
    return table


def _named(identities: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same, null where the name is empty, as a table program may write what it does not know."""
    empty = pc.equal(pc.utf8_trim_whitespace(identities), "")
    return pc.if_else(empty, pa.scalar(None, pa.string()), identities)


def read_columns(path: Path, names: set[str]) -> pa.Table:
    """Some columns, in the order and the types of `SCHEMA`; null where earlier versions did not write one."""
    there = set(pq.read_schema(path).names)
    table = pq.read_table(path, columns=sorted(names & there), page_checksum_verification=True)
    table.validate(full=True)
    return _of_schema(table, pa.schema([field for field in SCHEMA if field.name in names]))


def own_columns(path: Path) -> list[str]:
    """The columns that somebody added to a manifest: texts, numbers and flags beside those of `SCHEMA`."""
    return [
        each.name for each in pq.read_schema(path) if each.name not in SCHEMA.names and _is_plain(each.type)
    ]


def _is_plain(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(test(inner) for test in tests) or pa.types.is_large_string(inner)


def _of_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    for name in set(schema.names) - set(table.column_names):
        table = table.append_column(name, pa.nulls(len(table)))
    return table.select(schema.names).cast(schema)


def rows_of(table: pa.Table, rows: Sequence[int] | NDArray[np.int64]) -> pa.Table:
    """A few rows of a table, in that order.

    `Table.take` first joins the chunks of the whole table, which takes seconds for millions of rows.
    """
    return pa.concat_tables([table.slice(0, 0), *(table.slice(row, 1) for row in map(int, rows))])


def refuse_rows_in_part(path: Path, table: pa.Table, *, field: str) -> None:
    """Refuse a row without a photo or a known status, or without the crop that its status promises.

    Raises:
        InputError: there is one.
    """
    for name in ("photo", "status"):
        if table[name].null_count:
            raise foreign(path, f"rows without {name}", field=field)
    if unknown := set(pc.unique(table["status"]).to_pylist()) - set(Status):
        raise foreign(path, f"the status {min(unknown)}", field=field)
    lacking = table["crop"].is_null().to_numpy() & ~holds(table["status"], Status.FAILED)
    for photo in table["photo"].filter(pa.array(lacking)).slice(0, 1).to_pylist():
        raise foreign(path, f"no crop of {photo}, which has not failed", field=field)


def refuse_crops_outside(path: Path, table: pa.Table) -> None:
    """Refuse a manifest that names a crop outside its folder.

    Raises:
        InputError: it does.
    """
    # A photo's name is a label: nothing is read by it.
    leaving = pc.filter(table["crop"], pc.match_substring_regex(table["crop"], LEAVES_FOLDER))
    for name in leaving.slice(0, 1).to_pylist():
        refuse_name_outside(name, field=f"{path}, column crop")
