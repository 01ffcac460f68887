"""A manifest comes back as it was written, and another geometry is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.alignment import TEMPLATES
from data_prep.dataset.manifest import (
    MANIFEST_NAME,
    SCHEMA,
    AlignedDataset,
    DatasetHeader,
    Status,
    header_for,
    write_manifest,
)
from data_prep.errors import InputError
from data_prep.quality.names import QUALITY_COLUMNS


def row(photo: str, status: Status = Status.ALIGNED, **known: Any) -> dict[str, Any]:
    return (
        dict.fromkeys(SCHEMA.names)
        | {"photo": photo, "identity": photo.split("/")[0], "crop": f"crops/{photo}", "status": status}
        | known
    )


@pytest.fixture
def header() -> DatasetHeader:
    return header_for(TEMPLATES["arcface-112"], policy="centred-largest", min_face_px=20)


def test_round_trip(tmp_path: Path, header: DatasetHeader) -> None:
    box = np.array([1.1, 2.2, 3.3, 4.4], np.float32).tolist()
    rows = [
        row("Zoë Müller/1.jpg", box=box, landmarks=[float(i) for i in range(10)], faces=2, score=0.5),
        row("Zoë Müller/2.jpg", Status.FAILED, crop=None, reason="truncated"),
        row("B/1.jpg", Status.NO_FACE, reason="no_face", faces=0),
    ]
    write_manifest(tmp_path, header, rows)
    dataset = AlignedDataset.load(tmp_path)
    assert dataset.header == header
    assert dataset.table.to_pylist() == rows
    assert dataset.template is TEMPLATES["arcface-112"]
    assert dataset.with_status(Status.FAILED).tolist() == [1]
    assert dataset.with_status(Status.ALIGNED).tolist() == [0]
    assert len(dataset) == 3


def test_an_empty_identity_is_nobody(tmp_path: Path, header: DatasetHeader) -> None:
    rows = [row(f"{name}/{number}.jpg", identity=name) for number, name in enumerate(["", " ", "Ann"])]
    write_manifest(tmp_path, header, rows)
    dataset = AlignedDataset.load(tmp_path)
    assert dataset.column("identity").tolist() == [None, None, "Ann"]
    assert dataset.has_identity().tolist() == [False, False, True]


def test_more_rows_than_a_batch_keep_their_order(tmp_path: Path, header: DatasetHeader) -> None:
    names = [f"A/{i}.jpg" for i in range(20_500)]
    write_manifest(tmp_path, header, (row(name) for name in names))
    assert AlignedDataset.load(tmp_path).column("photo").tolist() == names


def test_of_a_large_manifest_little_stays_in_memory(tmp_path: Path, header: DatasetHeader) -> None:
    people = [None if number % 7 == 0 else f"person {number % 50}" for number in range(20_500)]
    statuses = [Status.FAILED if number % 5 == 0 else Status.ALIGNED for number in range(20_500)]
    rows = [
        row(f"{number:05d}.jpg", status, identity=person, sha256=f"{number:064x}", faces=number)
        for number, (person, status) in enumerate(zip(people, statuses, strict=True))
    ]
    write_manifest(tmp_path, header, rows)
    dataset = AlignedDataset.load(tmp_path)
    assert set(dataset.table.column_names) == {"photo", "identity", "crop", "status", "reason"}
    assert dataset.table.nbytes / len(dataset) < 15 + 22 + 3 * 4.2, "two names, and three numbers of texts"
    assert dataset.column("identity").tolist() == people
    assert dataset.column("faces").tolist() == list(range(20_500))
    named = dataset.columns(["photo", "sha256", "identity"]).slice(12_345, 2).to_pylist()
    assert named == [
        {key: each[key] for key in ("photo", "sha256", "identity")} for each in rows[12_345:12_347]
    ]
    aligned = dataset.with_status(Status.ALIGNED)
    assert aligned.tolist() == [number for number, each in enumerate(statuses) if each == Status.ALIGNED]
    known = aligned[dataset.has_identity()[aligned]]
    names, labels = dataset.people(known[:40])
    assert names.tolist() == sorted({people[number] for number in known[:40]})
    assert names[labels].tolist() == [people[number] for number in known[:40]]


def test_the_same_rows_give_the_same_hash(tmp_path: Path, header: DatasetHeader) -> None:
    hashes = []
    for name in ("one", "two", "other"):
        (tmp_path / name).mkdir()
        write_manifest(tmp_path / name, header, [row("A/1.jpg" if name != "other" else "A/2.jpg")])
        hashes.append(AlignedDataset.load(tmp_path / name).sha256)
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_interrupted_write_leaves_the_old_manifest(tmp_path: Path, header: DatasetHeader) -> None:
    write_manifest(tmp_path, header, [row("A/1.jpg")])
    before = (tmp_path / MANIFEST_NAME).read_bytes()

    def breaking() -> Any:
        yield row("A/2.jpg")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_manifest(tmp_path, header, breaking())
    assert (tmp_path / MANIFEST_NAME).read_bytes() == before


def test_another_geometry_under_the_same_name_is_refused(tmp_path: Path, header: DatasetHeader) -> None:
    write_manifest(tmp_path, replace(header, template_sha256="0" * 64), [row("A/1.jpg")])
    with pytest.raises(InputError, match="Align the photos again"):
        AlignedDataset.load(tmp_path)


def test_a_crop_under_an_impossible_name_is_missing(tmp_path: Path, header: DatasetHeader) -> None:
    write_manifest(tmp_path, header, [row("A/1.jpg", crop="x" * 300), row("A/2.jpg", crop="")])
    assert len(AlignedDataset.load(tmp_path).crops.missing([0, 1])) == 2


def test_an_unknown_template_is_refused(tmp_path: Path, header: DatasetHeader) -> None:
    write_manifest(tmp_path, replace(header, template="mine-96"), [row("A/1.jpg")])
    with pytest.raises(InputError, match="mine-96"):
        AlignedDataset.load(tmp_path)


def test_no_manifest_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"faceverif align {tmp_path} {tmp_path}-aligned"):
        AlignedDataset.load(tmp_path)


def test_other_files_of_that_name_are_refused(tmp_path: Path, header: DatasetHeader) -> None:
    path = tmp_path / MANIFEST_NAME
    path.write_bytes(b"no parquet")
    with pytest.raises(InputError, match="that `faceverif align` wrote"):
        AlignedDataset.load(tmp_path)
    write_manifest(tmp_path, header, [row("A/1.jpg")])
    table = pq.read_table(path)
    for metadata in ({}, {b"faceverif.header": b"\xff"}, {b"faceverif.header": b"[" * 9999}):
        pq.write_table(table.replace_schema_metadata(metadata), path)
        with pytest.raises(InputError, match="that `faceverif align` wrote"):
            AlignedDataset.load(tmp_path)


@pytest.mark.parametrize("column", SCHEMA.names)
def test_a_missing_column_is_named(tmp_path: Path, header: DatasetHeader, column: str) -> None:
    path = write_manifest(tmp_path, header, [row("A/1.jpg")])
    pq.write_table(pq.read_table(path).drop_columns(column), path)
    if column in ("crop_sha256", "detection_pass", *QUALITY_COLUMNS):  # which earlier versions did not write
        assert AlignedDataset.load(tmp_path).table[column].to_pylist() == [None]
        return
    with pytest.raises(InputError, match=rf"{path} \(no column {column}\)"):
        AlignedDataset.load(tmp_path)


def test_columns_of_other_types_are_taken_where_they_hold_the_same(
    tmp_path: Path, header: DatasetHeader
) -> None:
    path = write_manifest(tmp_path, header, [row("A/1.jpg", box=[1.0, 2.0, 3.0, 4.0]), row("A/2.jpg")])
    table = pq.read_table(path)
    expected = table.to_pylist()
    place = table.column_names.index("box")
    loose = table.set_column(place, "box", table["box"].cast(pa.list_(pa.float64())))
    pq.write_table(loose, path)
    assert AlignedDataset.load(tmp_path).table.to_pylist() == expected
    pq.write_table(table.set_column(place, "box", table["photo"]), path)
    with pytest.raises(InputError, match="columns of other types"):
        AlignedDataset.load(tmp_path)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"crop": None}, r"no crop of A/1\.jpg, which has not failed"),
        ({"crop": None, "status": Status.NO_FACE}, r"no crop of A/1\.jpg"),
        ({"status": None}, "rows without status"),
        ({"photo": None}, "rows without photo"),
        ({"status": "algned"}, "the status algned"),
    ],
)
def test_a_row_in_part_is_refused(
    tmp_path: Path, header: DatasetHeader, broken: dict[str, Any], said: str
) -> None:
    write_manifest(tmp_path, header, [row("A/1.jpg") | broken])
    with pytest.raises(InputError, match=said):
        AlignedDataset.load(tmp_path)
