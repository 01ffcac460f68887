"""The same alignment again: the manifest has the photos there are, and what was refused is tried again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from data_prep.dataset.manifest import JOURNAL_NAME, MANIFEST_NAME, AlignedDataset
from data_prep.errors import InputError
from data_prep.prepare import align_folder as prepare
from data_prep.prepare.align_folder import AlignSummary, align_folder
from data_prep.prepare.crop_names import crop_name
from data_prep.prepare.task import AlignSettings
from data_prep.work.here import ThisProcess


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two photos without a face."""
    for name in ("a", "b"):
        put(tmp_path / "photos", name)
    return tmp_path / "photos"


def put(source: Path, name: str) -> Path:
    path = source / name / "1.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 50)).save(path)
    return path


def take_away(source: Path, name: str) -> None:
    (source / name / "1.png").unlink()


def align(source: Path) -> AlignSummary:
    settings = AlignSettings(min_face_px=40)
    return align_folder(source, source.parent / "out", settings=settings, engine=ThisProcess(as_worker=True))


def photos_of(source: Path) -> list[str]:
    return AlignedDataset.load(source.parent / "out").column("photo").tolist()


def test_a_photo_that_comes_back_has_its_row_again(source: Path) -> None:
    align(source)
    take_away(source, "b")
    put(source, "c")
    align(source)
    assert photos_of(source) == ["a/1.png", "c/1.png"]
    take_away(source, "c")
    put(source, "b")
    again = align(source)
    assert (again.done_now, again.rewritten) == (0, True)
    assert "complete already: the manifest follows the source again" in again.text()
    assert photos_of(source) == ["a/1.png", "b/1.png"]


def stopped(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_run_that_ended_before_its_manifest_is_made_up_for(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    align(source)
    take_away(source, "b")
    put(source, "c")
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "write_manifest", stopped)
        with pytest.raises(KeyboardInterrupt):
            align(source)
    assert photos_of(source) == ["a/1.png", "b/1.png"]
    align(source)
    assert photos_of(source) == ["a/1.png", "c/1.png"]
    assert align(source).text().splitlines()[-2] == "complete already: nothing to do"


def test_what_could_not_be_read_is_tried_again(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_away(source, "b")
    (source / "b/1.png").symlink_to(source.parent / "disk.png")
    assert align(source).failures == {"unreadable": 1}
    again = align(source)
    assert (again.failures, again.done_now) == ({"unreadable": 1}, 0)
    assert "unreadable photos are tried again" in again.text()
    put(source.parent, "elsewhere").rename(source.parent / "disk.png")
    with monkeypatch.context() as patch:  # the rows of the journal count, though the photos are the same
        patch.setattr(prepare, "write_manifest", stopped)
        with pytest.raises(KeyboardInterrupt):
            align(source)
    mended = align(source)
    assert (mended.no_face, mended.failures) == (2, {})
    assert "tried again" not in mended.text()


def test_a_crop_that_could_not_be_written_is_tried_again(source: Path) -> None:
    out = source.parent / "out"
    in_its_place = out / crop_name("b/1.png", ending="jpg")
    in_its_place.mkdir(parents=True)
    (out / JOURNAL_NAME).touch()
    for _ in range(2):
        summary = align(source)
        assert summary.failures == {"unusable_name": 1}
    assert summary.done_now == 0
    in_its_place.rmdir()
    assert align(source).failures == {}
    assert in_its_place.is_file()
    assert sorted(path.name for path in in_its_place.parent.iterdir()) == ["1.png.jpg"]


def test_a_data_set_that_is_written_again_meanwhile_is_not_mixed_with_the_old_one(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_prep.dataset.manifest_table.ROWS_AT_ONCE", 1)  # as if it were large
    align(source)
    opened = AlignedDataset.load(source.parent / "out")
    assert opened.columns(["photo", "width"]).num_rows == 2
    take_away(source, "b")
    put(source, "c")
    align(source)
    for read in (lambda: opened.columns(["photo", "width"]), opened.own_columns):
        with pytest.raises(InputError, match=r"must stay as it is .* got .*/out, which has changed"):
            read()
    assert (source.parent / "out" / MANIFEST_NAME).is_file()
