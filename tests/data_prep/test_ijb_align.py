"""IJB's loose crops are warped by the landmarks that come with them, and no detector is asked."""

from __future__ import annotations

from pathlib import Path

import ijb_release
import numpy as np
import pytest
from PIL import Image

from data_prep.check import check
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.errors import InputError
from data_prep.prepare import workers
from data_prep.prepare.align_folder import align_folder
from data_prep.prepare.task import AlignSettings
from data_prep.sources import list_source
from data_prep.work.here import ThisProcess


def _draw(person: int, photo: int) -> np.ndarray:
    pattern = np.random.default_rng(person).integers(40, 216, (7, 7, 3))
    return np.kron(pattern, np.ones((16, 16, 1))).astype(np.uint8)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "SMALL"
    ijb_release.write_lists(folder)
    ijb_release.write_pictures(folder, _draw)
    return folder


def _align(release: Path, out: Path, settings: AlignSettings | None = None) -> AlignedDataset:
    align_folder(release, out, settings=settings or AlignSettings(), engine=ThisProcess())
    return AlignedDataset.load(out)


def _break(release: Path, name: str, fields: str) -> None:
    path = release / "meta/small_name_5pts_score.txt"
    lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{name} ")]
    path.write_text("\n".join([*lines, *([f"{name} {fields}"] if fields else [])]) + "\n")


def test_the_crops_are_the_faces_and_the_manifest_says_how(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "load_detector", None)  # would be called
    dataset = _align(release, tmp_path / "out")
    assert dataset.header.policy == "given landmarks"
    assert dataset.header.detector.startswith("landmarks of small_name_5pts_score.txt ")
    assert dataset.header.second_pass == "none"
    assert len(dataset.with_status(Status.ALIGNED)) == len(dataset) == ijb_release.PHOTOS
    people = {name: ijb_release.person_of(template) for name, template, _ in ijb_release.photos()}
    crops = dataset.crops.read(np.arange(len(dataset)))
    for photo, crop in zip(dataset.column("photo"), crops, strict=True):
        inner = slice(20, 92)  # the picture's border lies further out
        error = np.abs(crop[inner, inner].astype(int) - _draw(people[photo], 0)[inner, inner]).mean()
        assert error < 12, photo


def test_landmarks_and_scores_are_those_of_the_list(release: Path, tmp_path: Path) -> None:
    dataset = _align(release, tmp_path / "out")
    row = dataset.column("photo").tolist().index("12.jpg")
    line = (release / "meta/small_name_5pts_score.txt").read_text().splitlines()[11].split()
    assert dataset.column("landmarks")[row].tolist() == pytest.approx([float(each) for each in line[1:11]])
    assert dataset.column("score")[row] == pytest.approx(float(line[11]))
    assert dataset.column("box")[row] is None


def test_photos_that_cannot_be_warped_are_rows_with_a_reason(release: Path, tmp_path: Path) -> None:
    _break(release, "7.jpg", "")
    _break(release, "8.jpg", f"{'50 50 ' * 5}0.9")
    (release / "loose_crop/9.jpg").write_text("no picture")
    dataset = _align(release, tmp_path / "out")
    failed = dataset.with_status(Status.FAILED)
    reasons = dict(zip(dataset.photos(failed), dataset.column("reason")[failed], strict=True))
    assert reasons == {"7.jpg": "no_landmarks", "8.jpg": "unusable_landmarks", "9.jpg": "not_an_image"}
    assert len(dataset) == ijb_release.PHOTOS


def test_a_stopped_alignment_continues_with_the_same_list_alone(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, calls = tmp_path / "out", []
    write = workers._write_crop

    def stopping(*arguments):  # type: ignore[no-untyped-def]
        calls.append(arguments)
        if len(calls) == 40:
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(workers, "_write_crop", stopping)
    with pytest.raises(KeyboardInterrupt):
        _align(release, out)
    assert len(_align(release, out)) == ijb_release.PHOTOS
    assert len(calls) == 40 + ijb_release.PHOTOS - 32  # a group of 32 was in the journal
    _break(release, "7.jpg", "")
    with pytest.raises(InputError, match=r"same SOURCE and options.*detector landmarks of"):
        _align(release, out)


def test_a_template_or_detector_that_needs_a_box_is_refused(release: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cut by landmarks.*facenet-160.*--template arcface-160"):
        _align(release, tmp_path / "a", AlignSettings("facenet-160"))
    with pytest.raises(InputError, match="--detector: is for photos whose landmarks are not given"):
        _align(release, tmp_path / "b", AlignSettings(detector="mine.onnx"))
    assert not list(tmp_path.glob("[ab]"))


def test_pictures_that_the_list_does_not_know(release: Path) -> None:
    for path in (release / "loose_crop").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"must hold pictures that .*; got none"):
        list_source(release)
    Image.new("RGB", (20, 20)).save(release / "loose_crop/other.jpg")
    with pytest.raises(InputError, match="got 1 other"):
        list_source(release)


def test_missing_pictures_are_said(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (release / "loose_crop/3.jpg").unlink()
    photos = list_source(release).photos
    assert len(photos) == ijb_release.PHOTOS - 1
    assert "holds 59 of the 60 pictures that small_name_5pts_score.txt names" in capsys.readouterr().err


def test_the_check_counts_lists_and_pictures(release: Path) -> None:
    report = check(release)
    assert report.whole, report.problems
    assert any(
        "60 photos of 15 IJB templates, 10 genuine and 40 impostor pairs" in fact for fact in report.facts
    )
    for path in (release / "loose_crop").iterdir():
        path.unlink()
    (release / "loose_crop").rmdir()
    assert check(release / "meta").whole
