"""Lists of what training leaves out: read back as written, and refused where they do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.alignment import find_template
from data_prep.dataset.exclusions import Exclusion, ExclusionList, exclusions_text, write_exclusions
from data_prep.dataset.manifest import AlignedDataset, Status, header_for, write_manifest
from data_prep.errors import InputError

NAMES = ("Ann/1.jpg", "Ann/2.jpg", "Bob, Jr./1.jpg", 'Eve "X"/1.jpg')


@pytest.fixture
def dataset(tmp_path: Path) -> AlignedDataset:
    known = {"crop": "1.png", "status": Status.ALIGNED}
    rows = [known | {"photo": name, "identity": name.partition("/")[0]} for name in NAMES]
    write_manifest(tmp_path, header_for(find_template("arcface-112"), policy="test", min_face_px=20), rows)
    return AlignedDataset.load(tmp_path)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["kind,name,reason", *lines]), encoding="utf-8")
    return path


def test_what_is_written_is_left_out(tmp_path: Path, dataset: AlignedDataset) -> None:
    lines = [
        Exclusion("photo", "Ann/2.jpg", "mislabelled", 0.123456, "Eve"),
        Exclusion("identity", "Bob, Jr.", "same_person", 0.7, 'Ann "B"'),
        Exclusion("photo", "Ann/2.jpg", "near_duplicate", 1.0, "Ann/1.jpg"),
    ]
    write_exclusions(tmp_path / "list.csv", lines)
    found = ExclusionList.read(tmp_path / "list.csv")
    assert found.kept(dataset).tolist() == [True, False, False, True]
    assert found.described() == {"sha256": found.sha256, "photos": 1, "identities": 1}
    assert "0.1235" in (tmp_path / "list.csv").read_text()


def test_notes_above_the_header_are_read_over(tmp_path: Path, dataset: AlignedDataset) -> None:
    lines = [Exclusion("photo", "Ann/2.jpg", "mislabelled", 0.1, "Eve")]
    write_exclusions(tmp_path / "list.csv", lines, warnings=["a weak model", "and more"])
    assert (
        (tmp_path / "list.csv")
        .read_text()
        .startswith("# warning: a weak model\n# warning: and more\nkind,name")
    )
    assert ExclusionList.read(tmp_path / "list.csv").photos == {"Ann/2.jpg"}
    (tmp_path / "list.csv").write_text("# note\nkind,name\nperson,Ann\n")
    with pytest.raises(InputError, match="line 3"):
        ExclusionList.read(tmp_path / "list.csv")


def test_a_list_by_hand_needs_no_evidence_and_may_be_empty(tmp_path: Path, dataset: AlignedDataset) -> None:
    by_hand = ExclusionList.read(write(tmp_path / "a.csv", 'identity,"Eve ""X""",I know her'))
    assert by_hand.kept(dataset).tolist() == [True, True, True, False]
    assert ExclusionList.read(write(tmp_path / "b.csv")).kept(dataset).all()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("photo,Ann/3.jpg,x", "every photo .* 1 that are not, such as Ann/3.jpg"),
        ("identity,Ann/1.jpg,x", "every identity .* such as Ann/1.jpg"),
    ],
)
def test_unknown_names_are_refused(
    tmp_path: Path, dataset: AlignedDataset, line: str, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        ExclusionList.read(write(tmp_path / "list.csv", line)).kept(dataset)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"", "line 1"),
        (b"photo,identity\na,b\n", "line 1"),
        (b"kind,name\nphoto,a\nface,b\n", "line 3"),
        (b"kind,name\nphoto\n", "line 2"),
        (b"kind,name\nphoto,\xff\n", "line 1"),
        (b'kind,name\nphoto,"a', "line 1"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: bytes, place: str) -> None:
    (tmp_path / "list.csv").write_bytes(text)
    with pytest.raises(InputError, match=rf"{place}: must be a CSV"):
        ExclusionList.read(tmp_path / "list.csv")


def test_a_missing_list_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="faceverif data audit"):
        ExclusionList.read(tmp_path / "list.csv")


def test_in_words() -> None:
    assert exclusions_text(None) == "no exclusion list applied"
    assert exclusions_text("unknown: why") == "exclusion list unknown: why"
    assert "1,234 photos and 5 identities, sha256 abc" in exclusions_text(
        {"photos": 1234, "identities": 5, "sha256": "abc"}
    )
