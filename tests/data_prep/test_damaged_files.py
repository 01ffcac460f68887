"""Our own files, damaged at random: they are read as they were, or refused with an `InputError`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from data_prep.alignment import TEMPLATES
from data_prep.dataset.exclusions import Exclusion, ExclusionList, write_exclusions
from data_prep.dataset.manifest import MANIFEST_NAME, AlignedDataset, Status, header_for, write_manifest
from data_prep.errors import InputError
from data_prep.face_model import FaceModel, load_face_model
from data_prep.prepare.journal import Journal

_MUTATIONS = 120
_BEGUN = {"source": "photos", "policy": "test", "second_pass": "none", "detector": "mtcnn"}
_HEADER = header_for(TEMPLATES["arcface-112"], policy="test", min_face_px=20)


def row(number: int) -> dict[str, object]:
    return {
        "photo": f"A/{number}.jpg",
        "identity": "A",
        "crop": f"crops/A/{number}.jpg.jpg",
        "sha256": "0" * 64,
        "crop_sha256": "1" * 64,
        "status": "aligned",
        "reason": None,
        "width": 250,
        "height": 250,
        "box": [1.0, 2.0, 30.5, 40.25],
        "landmarks": [float(number)] * 10,
        "score": 0.99,
        "faces": 1,
        "detection_pass": 1,
    }


def write_a_manifest(folder: Path) -> Path:
    return write_manifest(folder, _HEADER, map(row, range(3)))


def read_manifest(path: Path) -> None:
    dataset = AlignedDataset.load(path.parent)
    dataset.with_status(Status.ALIGNED)
    [dataset.column(name) for name in dataset.table.column_names]


def write_a_journal(folder: Path) -> Path:
    with Journal.opened(folder, _BEGUN) as journal:
        journal.add([row(number) for number in range(3)])
    return folder / "journal.jsonl"


def read_journal(path: Path) -> None:
    with Journal.opened(path.parent, _BEGUN) as journal:
        rows = [journal.row(photo) for photo in journal.photos()]
    write_manifest(path.parent, _HEADER, rows)
    AlignedDataset.load(path.parent)


def write_a_face_model(folder: Path) -> Path:
    spread = np.full(2, 0.5, np.float32)
    components = np.zeros((2, 64, 64, 3), np.float32)
    model = FaceModel(np.zeros((64, 64, 3), np.float32), components, spread, spread, {"photos": 7})
    model.save(folder / "model.npz")
    return folder / "model.npz"


def write_a_list(folder: Path) -> Path:
    write_exclusions(folder / "list.csv", [Exclusion("photo", f"A/{n}", "copy", 0.9, "B") for n in range(4)])
    return folder / "list.csv"


def mutations(content: bytes) -> Iterator[bytes]:
    """Single bytes changed, pieces removed, doubled, cut off or overwritten."""
    rng = np.random.default_rng(0)
    for number in range(_MUTATIONS):
        begin, end = sorted(rng.integers(0, len(content), 2).tolist())
        end = min(end, begin + 40)
        noise = rng.bytes(1 + end - begin)
        yield (
            content[:begin] + noise[:1] + content[begin + 1 :],
            content[:begin] + content[end:],
            content[:end] + content[begin:],
            content[:begin],
            content[:begin] + noise + content[end:],
        )[number % 5]


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (write_a_manifest, read_manifest),
        (write_a_journal, read_journal),
        (write_a_face_model, load_face_model),
        (write_a_list, ExclusionList.read),
    ],
)
def test_no_damage_raises_anything_else(
    tmp_path: Path, write: Callable[[Path], Path], read: Callable[[Path], object]
) -> None:
    path = write(tmp_path)
    content = path.read_bytes()
    refused = 0
    for mutated in mutations(content):
        path.write_bytes(mutated)
        try:
            read(path)
        except InputError:
            refused += 1
    assert refused, "no mutation was noticed"


def test_damaged_lines_of_a_journal_are_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = write_a_journal(tmp_path).read_bytes().splitlines(keepends=True)
    damaged = json.dumps(row(1) | {"faces": -1}).encode() + b"\n"
    (tmp_path / "journal.jsonl").write_bytes(b"".join([*lines[:2], damaged, b"\xff\n", lines[3]]))
    with Journal.opened(tmp_path, _BEGUN) as journal:
        assert list(journal.photos()) == ["A/0.jpg", "A/2.jpg"]
    assert "2 damaged lines" in capsys.readouterr().err


@pytest.mark.parametrize(
    "spoiled",
    [
        {"crop": "../a.jpg"},
        {"crop": None},
        {"status": "done"},
        {"photo": None},
        {"width": 2**40},
        {"score": float("nan")},
        {"landmarks": [1.0]},
        {"more": 1},
        {"detection_pass": 3},
    ],
)
def test_what_no_manifest_can_hold_is_damage(tmp_path: Path, spoiled: dict[str, object]) -> None:
    path = write_a_journal(tmp_path)
    with path.open("ab") as file:
        file.write(json.dumps(row(7) | spoiled).encode() + b"\n")
    with Journal.opened(tmp_path, _BEGUN) as journal:
        assert len(journal) == 3


@pytest.mark.parametrize("crop_px", [-112, 0, 10**30, 64])
def test_crops_have_the_size_of_their_template(tmp_path: Path, crop_px: int) -> None:
    header = replace(_HEADER, crop_px=crop_px)
    write_manifest(tmp_path, header, [row(0)])
    with pytest.raises(InputError, match=f"got {crop_px} px"):
        AlignedDataset.load(tmp_path)


def test_manifests_of_earlier_versions_load(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = write_a_manifest(tmp_path)
    table = pq.read_table(path).drop_columns(["crop_sha256", "detection_pass"])
    header = asdict(_HEADER)
    del header["second_pass"]
    pq.write_table(table.replace_schema_metadata({b"faceverif.header": json.dumps(header)}), path)
    dataset = AlignedDataset.load(tmp_path)
    assert dataset.header.second_pass == "none"
    assert dataset.table["detection_pass"].to_pylist() == [None] * 3
    assert path.name == MANIFEST_NAME
