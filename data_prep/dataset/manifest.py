"""The aligned data set: a Parquet manifest beside its crops, every source photo a row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from data_prep.alignment import Template, find_template
from data_prep.atomic import written_whole
from data_prep.dataset.crops import CropFiles, Crops
from data_prep.errors import InputError
from data_prep.inside import LEAVES_FOLDER, refuse_name_outside

MANIFEST_NAME = "manifest.parquet"
JOURNAL_NAME = "journal.jsonl"  # beside it: what an alignment has done so far
_HEADER_KEY = b"faceverif.header"
_ROWS_AT_ONCE = 10_000

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
    ]
)


class Status(StrEnum):
    """What became of a photo."""

    ALIGNED = "aligned"
    NO_FACE = "no_face"  # has a centre crop: verification's fallback, never trained on
    FAILED = "failed"  # has no crop; the reason says why


@dataclass(frozen=True)
class DatasetHeader:
    """How the crops were made; whoever reads them checks it.

    Attributes:
        template: name of the alignment template.
        template_sha256: its geometry.
        crop_px: side of the crops.
        policy: which of several faces was taken.
        colour_order: of the decoded pixels.
        min_face_px: smallest face that was looked for.
        versions: of the tools that touched the pixels.
    """

    template: str
    template_sha256: str
    crop_px: int
    policy: str
    colour_order: str
    min_face_px: int
    versions: dict[str, str]

    __pydantic_config__ = ConfigDict(extra="forbid")


HEADER = TypeAdapter(DatasetHeader)  # reads one that may not be one


def header_for(template: Template, *, policy: str, min_face_px: int) -> DatasetHeader:
    """The header of a data set that is made now, with the versions of the installed tools."""
    from importlib.metadata import version

    tools = ("faceverif", "facenet-pytorch", "torch", "numpy", "pillow")
    return DatasetHeader(
        template=template.name,
        template_sha256=template.sha256,
        crop_px=template.crop_px,
        policy=policy,
        colour_order="rgb",
        min_face_px=min_face_px,
        versions={tool: version(tool) for tool in tools},
    )


def write_manifest(root: Path, header: DatasetHeader, rows: Iterable[dict[str, Any]]) -> Path:
    """Write the manifest of `root`, whole or not at all.

    Args:
        root: the data set's folder.
        header: how its crops were made.
        rows: one mapping per photo with the keys of `SCHEMA`, in the order to be kept.
    """
    schema = SCHEMA.with_metadata({_HEADER_KEY: json.dumps(asdict(header), sort_keys=True).encode()})
    path = root / MANIFEST_NAME
    remaining = iter(rows)
    with written_whole(path) as unfinished, pq.ParquetWriter(unfinished, schema) as writer:
        while batch := list(islice(remaining, _ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    return path


@dataclass(frozen=True)
class AlignedDataset:
    """Aligned crops and where each came from.

    Attributes:
        root: folder of the manifest, or the file or folder that the crops are packed in.
        header: how the crops were made.
        table: all rows in `SCHEMA`, failures included.
        crops: where the crops lie, by row.
        files: whose content names the data set: the manifest, or what the crops are packed in.
    """

    root: Path
    header: DatasetHeader
    table: pa.Table
    crops: Crops
    files: tuple[Path, ...]

    @classmethod
    def load(cls, root: Path, *, field: str = "data") -> AlignedDataset:
        """Read the manifest of an aligned folder.

        Args:
            root: the folder.
            field: what the user named it with, for the message.

        Raises:
            InputError: no manifest, another format, a column that is missing, a photo without its crop, a
                name that leaves the folder, or a template that this version draws differently.
        """
        path = root / MANIFEST_NAME
        if not path.is_file():
            raise InputError(
                field,
                f"must be a folder made by `faceverif align`, with a {MANIFEST_NAME}, "
                "or a train.rec or WebDataset shards of crops",
                got=root,
                fix=f"Run: faceverif align PHOTOS {root}",
            )
        try:
            table = pq.read_table(path)
            header = HEADER.validate_json((table.schema.metadata or {})[_HEADER_KEY])
        except (pa.ArrowException, OSError, KeyError, ValidationError) as error:
            raise _foreign(path, type(error).__name__, field=field) from error
        table = _in_schema(path, table, field=field)
        _refuse_rows_in_part(path, table, field=field)
        _refuse_names_outside(path, table)
        refuse_other_geometry(header)
        crops = CropFiles(crop_px=header.crop_px, root=root, names=table.column("crop"))
        return cls(root, header, table, crops, files=(path,))

    @property
    def template(self) -> Template:
        """The alignment template of the crops."""
        return find_template(self.header.template)

    @cached_property
    def sha256(self) -> str:
        """The name of this data set in every result: the hash of its file, or of its files' hashes."""
        hashes = [_file_sha256(file) for file in self.files]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

    def column(self, name: str) -> NDArray[Any]:
        """One manifest column, (rows,)."""
        return self.table.column(name).to_numpy()

    def with_status(self, status: Status) -> NDArray[np.int64]:
        """Indices of the rows of that status, in manifest order."""
        return np.flatnonzero(self.column("status") == status.value)

    def __len__(self) -> int:
        return self.table.num_rows


def refuse_other_geometry(header: DatasetHeader) -> None:
    """Refuse crops of a template that this version draws differently.

    Raises:
        InputError: it does, or no template has this name.
    """
    known = find_template(header.template)
    if known.sha256 != header.template_sha256:
        raise InputError(
            "data",
            f"template {header.template} must have the geometry of this version ({known.sha256[:12]})",
            got=header.template_sha256[:12],
            fix="Align the photos again with this version.",
        )


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _foreign(path: Path, why: str, *, field: str) -> InputError:
    return InputError(
        field,
        "the manifest must be one that `faceverif align` wrote",
        got=f"{path} ({why})",
        fix="Align the photos again into an empty folder.",
    )


def _in_schema(path: Path, table: pa.Table, *, field: str) -> pa.Table:
    """The columns of `SCHEMA`, in its types; earlier versions wrote no `crop_sha256`."""
    missing = [name for name in SCHEMA.names if name not in {*table.column_names, "crop_sha256"}]
    if missing:
        raise _foreign(path, f"no column {', '.join(missing)}", field=field)
    schema = pa.schema([column for column in SCHEMA if column.name in table.column_names])
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise _foreign(path, f"columns of other types: {error}", field=field) from error


def _refuse_rows_in_part(path: Path, table: pa.Table, *, field: str) -> None:
    for name in ("photo", "status"):
        if table[name].null_count:
            raise _foreign(path, f"rows without {name}", field=field)
    lacking = pc.and_(pc.is_null(table["crop"]), pc.not_equal(table["status"], Status.FAILED.value))
    for photo in table["photo"].filter(lacking).slice(0, 1).to_pylist():
        raise _foreign(path, f"no crop of {photo}, which has not failed", field=field)


def _refuse_names_outside(path: Path, table: pa.Table) -> None:
    for column in ("photo", "crop"):
        leaving = pc.filter(table[column], pc.match_substring_regex(table[column], LEAVES_FOLDER))
        for name in leaving.slice(0, 1).to_pylist():
            refuse_name_outside(name, field=f"{path}, column {column}")
