"""The aligned data set: a Parquet manifest beside its crops, every source photo a row."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from data_prep.alignment import find_template
from data_prep.alignment.base import Template
from data_prep.atomic import written_whole
from data_prep.dataset.crops import CropFiles, Crops
from data_prep.dataset.manifest_table import (
    MANIFEST_FIX,
    MANIFEST_RULE,
    ROWS_AT_ONCE,
    SCHEMA,
    Stamp,
    Status,
    changed,
    own_columns,
    read_checked,
    read_columns,
    refuse_crops_outside,
    refuse_rows_in_part,
    rows_of,
    stamps_of,
)
from data_prep.errors import InputError
from data_prep.file_hash import file_hash
from data_prep.inside import LEAVES_FOLDER
from data_prep.own_files import read_guarded
from data_prep.printed_command import printed_command
from data_prep.repeated_text import holds, objects

MANIFEST_NAME = "manifest.parquet"
JOURNAL_NAME = "journal.jsonl"  # beside it: what an alignment has done so far
_HEADER_KEY = b"faceverif.header"

_Pixels = Annotated[int, Field(ge=0, lt=2**31)]
_Box = Annotated[list[float], Field(min_length=4, max_length=4)]
_Landmarks = Annotated[list[float], Field(min_length=10, max_length=10)]


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """A row as JSON has it: what `SCHEMA` can hold."""

    photo: str
    identity: str | None
    crop: str | None
    sha256: str | None
    crop_sha256: str | None = None
    status: Status
    reason: str | None
    width: _Pixels | None
    height: _Pixels | None
    box: _Box | None
    landmarks: _Landmarks | None
    score: float | None
    faces: _Pixels | None
    detection_pass: Annotated[int, Field(ge=1, le=2)] | None = None
    eye_distance_px: float | None = None
    yaw_deg: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None
    sharpness: float | None = None

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)


_ROW = TypeAdapter(ManifestRow)


def row_in_line(line: bytes) -> ManifestRow | None:
    """The manifest row that is written as JSON; None where the line is no such row."""
    try:
        row = _ROW.validate_json(line, strict=True)
    except ValidationError:
        return None
    if row.crop is None:
        return row if row.status == Status.FAILED else None
    return None if re.search(LEAVES_FOLDER, row.crop) else row


@dataclass(frozen=True)
class DatasetHeader:
    """How the crops were made; every reader checks it.

    Attributes:
        template: name of the alignment template.
        template_sha256: its geometry.
        crop_px: side of the crops.
        policy: which of several faces was taken.
        colour_order: of the decoded pixels.
        min_face_px: smallest face that was looked for.
        versions: of the tools that touched the pixels.
        second_pass: how photos without a face were searched again.
        detector: that found the faces, with the hash of its file where it has one.
    """

    template: str
    template_sha256: str
    crop_px: int
    policy: str
    colour_order: str
    min_face_px: int
    versions: dict[str, str]
    second_pass: str = "none"  # as in data sets of earlier versions
    detector: str = "mtcnn"  # likewise

    __pydantic_config__ = ConfigDict(extra="forbid")


HEADER = TypeAdapter(DatasetHeader)  # checks a header as it is read


def header_for(
    template: Template, *, policy: str, min_face_px: int, second_pass: str = "none", detector: str = "mtcnn"
) -> DatasetHeader:
    """The header of a data set that is made now, with the versions of the installed tools."""
    from data_prep.package_versions import package_versions  # not above: it takes a moment

    tools = ("faceverif", "facenet-pytorch", "torch", "numpy", "pillow")
    return DatasetHeader(
        template=template.name,
        template_sha256=template.sha256,
        crop_px=template.crop_px,
        policy=policy,
        colour_order="rgb",
        min_face_px=min_face_px,
        versions=package_versions(tools),
        second_pass=second_pass,
        detector=detector,
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
    with (
        written_whole(path) as unfinished,
        pq.ParquetWriter(unfinished, schema, write_page_checksum=True) as writer,
    ):
        while batch := list(islice(remaining, ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    return path


@dataclass(frozen=True)
class AlignedDataset:
    """Aligned crops and where each came from.

    Attributes:
        root: folder of the manifest, or the file or folder that the crops are packed in.
        header: how the crops were made.
        table: all rows, failures included: the columns of `SCHEMA`, with text that repeats as `REPEATED`; of
            a large data set some stay on disk, and `columns` reads them.
        crops: where the crops lie, by row.
        files: whose content names the data set: the manifest, or what the crops are packed in.
        digest: the name of data in a storage, whose files are not read whole; None for others.
        others: reads columns that are not in the table, those of that name; None where all are.
        opened: what `stamps_of` said of the files when the table was read.
    """

    root: Path
    header: DatasetHeader
    table: pa.Table
    crops: Crops
    files: tuple[Path, ...]
    digest: str | None = None
    others: Callable[[set[str]], pa.Table] | None = None
    opened: tuple[Stamp, ...] = ()

    @classmethod
    def load(cls, root: Path, *, field: str = "data") -> AlignedDataset:
        """Read the manifest of an aligned folder.

        Args:
            root: the folder.
            field: what the user named it with, for the message.

        Raises:
            InputError: no manifest, one that is damaged or of another format, a column that is missing, a
                photo without its crop, a crop outside the folder, or a template that this version draws
                differently.
        """
        path = root / MANIFEST_NAME
        if not path.is_file():
            raise InputError(
                field,
                f"must be a folder made by `faceverif align`, with a {MANIFEST_NAME}, "
                "or a train.rec or WebDataset shards of crops",
                got=root,
                fix="If these are photos, align them first: "
                + printed_command("align", root, f"{root}-aligned"),
            )
        opened = stamps_of((path,))
        with read_guarded(field, MANIFEST_RULE, got=path, fix=MANIFEST_FIX):
            header = HEADER.validate_json((pq.read_schema(path).metadata or {})[_HEADER_KEY])
            table = read_checked(path, field=field)
            refuse_rows_in_part(path, table, field=field)
            refuse_crops_outside(path, table)
        refuse_other_geometry(header)
        crops = CropFiles(crop_px=header.crop_px, root=root, names=table.column("crop"))
        others = partial(_columns_on_disk, path)
        return cls(root, header, table, crops, files=(path,), others=others, opened=opened)

    @property
    def template(self) -> Template:
        """The alignment template of the crops."""
        return find_template(self.header.template)

    @cached_property
    def sha256(self) -> str:
        """The name of this data set in every result: the hash of its file, or of its files' hashes."""
        if self.digest is not None:
            return self.digest
        hashes = [file_hash(file) for file in self.files]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

    def column(self, name: str) -> NDArray[Any]:
        """One manifest column, (rows,); text as Python objects, which take 20 times the column's memory."""
        column = self.columns([name])[name]
        return objects(column) if pa.types.is_dictionary(column.type) else column.to_numpy()

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of all rows, wherever they are.

        Raises:
            InputError: the data set has changed since it was opened.
        """
        there = [name for name in names if name in self.table.column_names]
        if self.others is None or len(there) == len(names):
            return self.table.select(names)
        self._refuse_changed()  # a file of other photos may have as many rows
        found = self.others(set(names) - set(there))
        if len(found) != len(self):
            raise changed(self.root)
        for name in there:
            found = found.append_column(name, self.table[name])
        return found.select(names)

    def own_columns(self) -> dict[str, list[Any]]:
        """What somebody added to the manifest: name -> (rows,) values, None where there is none.

        Raises:
            InputError: the manifest has changed since it was opened.
        """
        path = self.root / MANIFEST_NAME
        if not path.is_file():
            return {}
        self._refuse_changed()
        with read_guarded("data", MANIFEST_RULE, got=path, fix=MANIFEST_FIX):
            return pq.read_table(path, columns=own_columns(path)).to_pydict()

    def with_status(self, status: Status) -> NDArray[np.int64]:
        """Indices of the rows of that status, in manifest order."""
        return np.flatnonzero(holds(self.table["status"], status))

    def with_crop(self) -> NDArray[np.int64]:
        """Indices of the rows that have a crop: of aligned photos, and of those without a face."""
        return np.flatnonzero(~holds(self.table["status"], Status.FAILED))

    def has_identity(self) -> NDArray[np.bool_]:
        """(rows,) whether it is known who the photo shows."""
        return self.table["identity"].is_valid().to_numpy()

    def people(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
        """Who some rows show, all of whom must have an identity.

        Returns:
            the identities, sorted, and (rows,) an index into them.
        """
        names, number = self._numbered
        number = number[rows]
        present = np.zeros(len(names), dtype=bool)
        present[number] = True
        place = np.cumsum(present) - 1
        return names.filter(pa.array(present)).to_numpy(zero_copy_only=False).astype(str), place[number]

    def photos(self, rows: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """The keys of the photos of a few rows."""
        return rows_of(self.table.select(["photo"]), rows)["photo"].to_pylist()

    def _refuse_changed(self) -> None:
        if stamps_of(self.files) != self.opened:
            raise changed(self.root)

    @cached_property
    def _numbered(self) -> tuple[pa.Array, NDArray[np.int32]]:
        """All identities, sorted, and (rows,) which is a row's; any number where the row has none."""
        column = self.table["identity"].combine_chunks()
        order = pc.sort_indices(column.dictionary).to_numpy()
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        number = column.indices.fill_null(0).to_numpy()
        return column.dictionary.take(pa.array(order)), rank[number] if len(rank) else number

    def __len__(self) -> int:
        return self.table.num_rows


def _columns_on_disk(path: Path, names: set[str]) -> pa.Table:
    with read_guarded("data", MANIFEST_RULE, got=path, fix=MANIFEST_FIX):
        return read_columns(path, names)


def refuse_other_geometry(header: DatasetHeader) -> None:
    """Refuse crops of a template that this version draws differently.

    Raises:
        InputError: it does, or no template has this name.
    """
    known = find_template(header.template)
    if (known.sha256, known.crop_px) != (header.template_sha256, header.crop_px):
        raise InputError(
            "data",
            f"template {header.template} must have the geometry of this version "
            f"({known.crop_px} px, {known.sha256[:12]})",
            got=f"{header.crop_px} px, {header.template_sha256[:12]}",
            fix="Align the photos again with this version.",
        )
