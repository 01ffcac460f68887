"""Pairs that a list repeats are counted; a list that contradicts itself is refused, with both lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_prep.alignment import find_template
from data_prep.check import check
from data_prep.dataset.manifest import AlignedDataset, header_for, write_manifest
from data_prep.errors import InputError
from data_prep.protocols import VerificationProtocol, protocol_on
from data_prep.protocols.repeated_pairs import with_repeats_counted

ROWS = ["a/1,a/2,1", "a/1,b/1,0", "b/1,b/2,1", "a/2,b/2,0", "c/1,c/2,1", "a/1,c/1,0"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> AlignedDataset:
    root = tmp_path_factory.mktemp("aligned")
    row = {"status": "failed", "reason": "not_an_image", "sha256": "0" * 64, "faces": 0}
    photos = [f"{person}/{number}.jpg" for person in "abc" for number in (1, 2)]
    rows = [row | {"photo": photo, "identity": photo[0]} for photo in photos]
    write_manifest(root, header_for(find_template("arcface-112"), policy="none", min_face_px=20), rows)
    return AlignedDataset.load(root)


def read(
    folder: Path, rows: list[str], dataset: AlignedDataset, name: str = "mine.csv"
) -> VerificationProtocol:
    path = folder / name
    path.write_text("\n".join(["left,right,same", *rows]) + "\n")
    return protocol_on(path, dataset, allow_partial=False)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ([], None),
        (["a/2,a/1,1", "a/2.jpg,a/1.jpg,1"], "2 repeated pairs, counted each time"),
        (["b/1,b/1.jpg,1"], "1 genuine pair of a photo with itself"),
    ],
)
def test_repeats_are_counted(
    tmp_path: Path, dataset: AlignedDataset, extra: list[str], said: str | None
) -> None:
    reading = read(tmp_path, ROWS + extra, dataset).reading
    assert reading.endswith(said or "1 is the same person")


@pytest.mark.parametrize(
    ("extra", "got"),
    [
        (["a/1,a/2,0"], r"a/1 and a/2, the same person in line 2 and different people in line 8\. Remove"),
        (["c/2.jpg,c/1,0", "b/1,a/1,1"], "the same person in line 6 and different .* line 8; 2 such pairs"),
        (["c/2,c/2.jpg,0"], r"a photo and itself different people; got c/2 in line 8"),
    ],
)
def test_contradictions_are_refused(
    tmp_path: Path, dataset: AlignedDataset, extra: list[str], got: str
) -> None:
    with pytest.raises(InputError, match=got):
        read(tmp_path, ROWS + extra, dataset)


def test_a_benchmarks_list_is_taken_as_it_was_published(tmp_path: Path, dataset: AlignedDataset) -> None:
    reading = read(tmp_path, [*ROWS, "a/1,a/2,0"], dataset, name="agedb_30.csv").reading
    assert reading.endswith("1 pair both as genuine and as impostor")
    assert "1 pair both as genuine and as impostor: a/1 and a/2" in "\n".join(
        check(tmp_path / "agedb_30.csv").problems
    )


def test_a_list_without_lines_names_the_pairs(dataset: AlignedDataset) -> None:
    protocol = VerificationProtocol(
        "mine", ("a/1", "a/2"), ("a/2", "a/1"), np.array([True, False]), np.array([0, 0]), (0,), "", "", ""
    )
    with pytest.raises(InputError, match="the same person in pair 1 and different people in pair 2"):
        with_repeats_counted(protocol, dataset)
