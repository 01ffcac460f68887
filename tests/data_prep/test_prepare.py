"""A folder of everything becomes a data set with a row for each file, whatever happens on the way."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facenet_pytorch.models.utils.detect_face import extract_face
from PIL import Image

from data_prep.alignment import find_template
from data_prep.alignment.landmarks import LandmarkTemplate, align_face
from data_prep.dataset.manifest import JOURNAL_NAME, MANIFEST_NAME, AlignedDataset
from data_prep.detection.cascade import CascadeDetector
from data_prep.detection.faces import Faces
from data_prep.errors import InputError
from data_prep.own_names import LOCK_NAME
from data_prep.photos import read_photo
from data_prep.prepare import align_folder as prepare
from data_prep.prepare import workers
from data_prep.prepare.align_folder import AlignSummary, align_folder
from data_prep.prepare.task import AlignSettings
from data_prep.quality.names import POSE
from data_prep.quality.pose import head_pose
from data_prep.quality.sharpness import sharpness
from data_prep.sources.folder import list_photos
from data_prep.system_errors import disk_is_full
from data_prep.work import here
from data_prep.work.here import Processes, ThisProcess
from data_prep.work.on_ray import RayCluster

_SETTINGS = AlignSettings(min_face_px=40)
_NO_FACES = Faces(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))


@pytest.fixture(scope="module")
def source(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of people, and what else gathers in such folders."""
    folder = tmp_path_factory.mktemp("photos")
    faces = sorted(people.rglob("*.jpg"))
    for name in (
        "Zoë Müller/portrait.jpg",
        "Zoë Müller/more/portrait.jpg",
        "李 明/portrait.jpg",
        "Ann/x.jpg",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(faces.pop(), folder / name)
    Image.open(faces.pop()).save(folder / "Ann/x.png")
    Image.new("L", (60, 50), 128).save(folder / "Ann/grey.png")
    Image.new("RGB", (10, 10)).save(folder / "Ann/tiny.png")
    (folder / "Ann/empty.jpg").touch()
    (folder / "Ann/notes.txt").write_text("no photo")
    (folder / "Ann/cut.jpg").write_bytes(faces[0].read_bytes()[:2000])
    (folder / "Ann/.DS_Store").touch()
    (folder / "Ann/Thumbs.db").touch()
    (folder / "readme.jpg").touch()
    (folder / os.fsdecode(b"Ann/\xff.jpg")).touch()
    return folder


@pytest.fixture(scope="module")
def aligned(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AlignSummary]:
    out = tmp_path_factory.mktemp("aligned")
    return out, align_folder(source, out, settings=_SETTINGS, engine=Processes(1))


def rows_of(out: Path) -> dict[str, dict[str, object]]:
    return {row["photo"]: row for row in AlignedDataset.load(out).table.to_pylist()}


def test_every_picture_is_a_row(aligned: tuple[Path, AlignSummary]) -> None:
    rows = rows_of(aligned[0])
    assert {photo: (row["identity"], row["status"], row["reason"]) for photo, row in rows.items()} == {
        "Ann/cut.jpg": ("Ann", "failed", "truncated"),
        "Ann/empty.jpg": ("Ann", "failed", "empty_file"),
        "Ann/grey.png": ("Ann", "no_face", "no_face"),
        "Ann/tiny.png": ("Ann", "failed", "too_small"),
        "Ann/x.jpg": ("Ann", "aligned", None),
        "Ann/x.png": ("Ann", "aligned", None),
        "Ann/\\xff.jpg": ("Ann", "failed", "empty_file"),
        "Zoë Müller/more/portrait.jpg": ("Zoë Müller", "aligned", None),
        "Zoë Müller/portrait.jpg": ("Zoë Müller", "aligned", None),
        "readme.jpg": (None, "failed", "empty_file"),
        "李 明/portrait.jpg": ("李 明", "aligned", None),
    }
    assert list(rows) == sorted(rows)


def test_crops_are_the_warped_photos_each_in_a_file_of_its_own(
    source: Path, aligned: tuple[Path, AlignSummary]
) -> None:
    out = aligned[0]
    rows = [row for row in rows_of(out).values() if row["status"] == "aligned"]
    template = find_template("arcface-112")
    assert isinstance(template, LandmarkTemplate)
    assert len({row["crop"] for row in rows}) == 5
    for row in rows:
        landmarks = np.array(row["landmarks"]).reshape(5, 2)
        expected = align_face(read_photo(source / str(row["photo"])), landmarks, template)
        assert np.abs(read_photo(out / str(row["crop"])).astype(int) - expected).mean() < 2
        [pose] = head_pose(landmarks[None])
        assert [row[name] for name in POSE] == pytest.approx(pose, abs=1e-2)
        assert row["eye_distance_px"] == pytest.approx(math.dist(*landmarks[:2]), abs=1e-2)
        assert row["sharpness"] == pytest.approx(sharpness(expected), abs=1e-2)
        assert row["crop_sha256"] == hashlib.sha256((out / str(row["crop"])).read_bytes()).hexdigest()


def test_crops_by_box_say_so_in_the_manifest(source: Path, tmp_path: Path) -> None:
    photos = [photo for photo in list_photos(source).photos if photo.key.endswith("portrait.jpg")][:1]
    settings = AlignSettings(template="facenet-160")
    (tmp_path / "crops").mkdir()
    (row,) = workers._Aligner(tmp_path, settings).align(photos)
    theirs = extract_face(
        Image.fromarray(read_photo(source / photos[0].key)), np.array(row["box"]), image_size=160, margin=14
    )
    crop = read_photo(tmp_path / str(row["crop"]))
    assert np.abs(crop - theirs.permute(1, 2, 0).numpy()).mean() < 2  # JPEG
    header = prepare._header(photos, find_template("facenet-160"), settings)
    assert (
        header.policy
        == "centred-largest, box with a margin of 14 px, clipped to the photo, resized without rotation"
    )


def test_the_summary_says_how_many_and_why(aligned: tuple[Path, AlignSummary]) -> None:
    text = aligned[1].text()
    assert "5 of 11 photos aligned" in text
    assert "1 of 11 photos without a face" in text
    assert "5 of 11 photos without a crop: empty_file 3" in text
    assert f"faceverif data check {aligned[0]} names these photos" in text.replace("'", "")
    skipped = "skipped 3: system_file 2 (Ann/.DS_Store, Ann/Thumbs.db), no_picture 1 (Ann/notes.txt)"
    assert skipped in text.splitlines()
    assert "1 of 11 photos without an identity" in text
    assert "images/s" in text


def test_again_is_complete_and_costs_nothing(source: Path, aligned: tuple[Path, AlignSummary]) -> None:
    out = aligned[0]
    before = (out / MANIFEST_NAME).stat().st_mtime_ns
    assert "complete already" in align_folder(source, out, settings=_SETTINGS).text()
    assert (out / MANIFEST_NAME).stat().st_mtime_ns == before


def test_photos_come_and_go(people: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(people, source)
    first, second, *_ = sorted(source.rglob("*.jpg"))
    first.rename(tmp_path / "later.jpg")
    align_folder(source, out, settings=_SETTINGS, engine=Processes(1))
    (tmp_path / "later.jpg").rename(first)
    second.unlink()
    summary = align_folder(source, out, settings=_SETTINGS, engine=Processes(1))
    assert summary.done_now > 0
    assert list(rows_of(out)) == [photo.key for photo in list_photos(source).photos]


PHOTOS, GROUP = 12, 3  # of `people`, and how many the killed run does at once


def command(source: Path, out: Path) -> list[str]:
    smaller = f"from data_prep.prepare import align_folder; align_folder._PHOTOS_PER_TASK = {GROUP}\n"
    main = smaller + "from faceverif.cli import main; main()"
    return [sys.executable, "-c", main, "align", str(source), str(out), "--min-face=40", "--workers=1"]


@pytest.mark.slow
def test_killed_and_started_again_ends_with_the_same_manifest(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    monkeypatch.setattr(prepare, "_PHOTOS_PER_TASK", GROUP)
    process = subprocess.Popen(command(people, out), stderr=subprocess.DEVNULL)
    journal = out / JOURNAL_NAME
    while process.poll() is None and (not journal.exists() or len(journal.read_bytes().splitlines()) < 2):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(journal.read_bytes().splitlines()) - 1
    assert 0 < done < PHOTOS, "not killed in the middle"
    assert not (out / MANIFEST_NAME).exists()
    with journal.open("ab") as file:
        file.write(b'{"photo": "copy 1/torn')
    summary = align_folder(people, out, settings=_SETTINGS, engine=Processes(1))
    # A group that the kill cut in two is done again.
    assert summary.done_now == PHOTOS - done // GROUP * GROUP
    align_folder(people, whole, settings=_SETTINGS, engine=ThisProcess(as_worker=True))
    assert (out / MANIFEST_NAME).read_bytes() == (whole / MANIFEST_NAME).read_bytes()


def test_a_dead_worker_is_an_error_not_a_hang(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "_start_worker", _die)
    monkeypatch.setattr(prepare, "_PHOTOS_PER_TASK", 8)
    with pytest.raises(InputError, match=r"a worker process died\. Free some memory"):
        align_folder(people, tmp_path / "out", settings=_SETTINGS, engine=Processes(1))


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_full_disk_stops_the_run_and_the_same_command_goes_on(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for copy in range(4):  # 48 photos: two tasks, of which the first fits
        shutil.copytree(people, tmp_path / f"photos/copy {copy}")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOCK_NAME).touch()  # as a run leaves it that could not even begin a journal
    write, room = workers._write_crop, iter(range(40))

    def write_while_there_is_room(*crop: Any) -> Any:
        if next(room, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(*crop)

    with monkeypatch.context() as patch:
        patch.setattr(workers, "_write_crop", write_while_there_is_room)
        with pytest.raises(OSError, match="No space left") as stopped:
            # In this process: a spawned one would know no other writer.
            align_folder(
                tmp_path / "photos", tmp_path / "out", settings=_SETTINGS, engine=ThisProcess(as_worker=True)
            )
    assert disk_is_full(stopped.value)
    assert not (tmp_path / "out" / MANIFEST_NAME).exists()
    summary = align_folder(
        tmp_path / "photos", tmp_path / "out", settings=_SETTINGS, engine=ThisProcess(as_worker=True)
    )
    assert (summary.photos, summary.aligned, summary.done_now) == (48, 48, 16)


def test_no_name_stops_the_run(tmp_path: Path) -> None:
    names = [
        f"a/{'x' * 252}",
        os.fsdecode(b"a/" + b"\xff" * 70),
        "V: The Artist/1.png",
        "A:B/1.png",
        "CON/1.png",
    ]
    for name in [*names, "id/a", "id/a.jpg/x"]:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 50)).save(tmp_path / "photos" / name, format="PNG")
    summary = align_folder(tmp_path / "photos", tmp_path / "out", settings=_SETTINGS)
    assert (summary.photos, summary.no_face, summary.failures) == (7, 7, {})
    rows = rows_of(tmp_path / "out")
    assert len({row["crop"] for row in rows.values()}) == 7
    assert rows["V: The Artist/1.png"]["identity"] == "V: The Artist"


def test_a_name_that_the_system_does_not_take_costs_one_row(people: Path, tmp_path: Path) -> None:
    first = list_photos(people).photos[0].key
    (tmp_path / f"out/crops/{first}.jpg").mkdir(parents=True)  # something else has taken its place
    (tmp_path / "out" / JOURNAL_NAME).touch()
    summary = align_folder(people, tmp_path / "out", settings=_SETTINGS)
    assert (summary.aligned, summary.failures) == (11, {"unusable_name": 1})


def test_a_face_of_the_second_pass_is_recorded(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detect = CascadeDetector.detect
    first_pass = CascadeDetector(40)._thresholds
    monkeypatch.setattr(
        CascadeDetector,
        "detect",
        lambda self, photos: [
            _NO_FACES if self._thresholds == first_pass else faces for faces in detect(self, photos)
        ],
    )
    summary = align_folder(people, tmp_path / "out", settings=_SETTINGS)
    assert summary.second_pass == summary.aligned > 0
    assert f"found by the second pass only: {summary.second_pass} faces" in summary.text()
    passes = [row["detection_pass"] for row in rows_of(tmp_path / "out").values()]
    assert passes.count(2) == summary.aligned
    assert AlignedDataset.load(tmp_path / "out").header.second_pass.startswith("border 0.5")


# --- what is refused, with nothing written


def test_missing_and_empty_sources(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="must be a folder"):
        align_folder(tmp_path / "nowhere", out, settings=_SETTINGS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="must hold photos; got none"):
        align_folder(tmp_path / "empty", out, settings=_SETTINGS)
    assert not out.exists()


def test_unknown_template(people: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="arcface-112"):
        align_folder(people, tmp_path / "out", settings=AlignSettings(template="mine"))
    assert not (tmp_path / "out").exists()


def test_out_inside_the_source(people: Path) -> None:
    with pytest.raises(InputError, match="must not lie in SOURCE"):
        align_folder(people, people / "aligned", settings=_SETTINGS)
    assert not (people / "aligned").exists()


def test_a_folder_of_other_things_is_not_written_into(people: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match="must be empty, new, or begun"):
        align_folder(people, tmp_path, settings=_SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(InputError, match="a file"):
        align_folder(people, tmp_path / "thesis.txt", settings=_SETTINGS)


def test_other_settings_or_another_source(
    source: Path, people: Path, aligned: tuple[Path, AlignSummary]
) -> None:
    out = aligned[0]
    with pytest.raises(InputError, match="min_face_px 40"):
        align_folder(source, out, settings=AlignSettings(min_face_px=20))
    with pytest.raises(InputError, match="same SOURCE"):
        align_folder(people, out, settings=_SETTINGS)


def test_what_ends_before_its_first_photo_leaves_nothing_begun(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "no address")
    out, mine = tmp_path / "new/out", tmp_path / "mine"
    mine.mkdir()
    for folder in (out, mine):
        with pytest.raises(InputError, match="RAY_ADDRESS"):
            align_folder(people, folder, settings=_SETTINGS, engine=RayCluster())
    assert not out.parent.exists()
    assert [path.name for path in mine.iterdir()] == [LOCK_NAME]
    (mine / JOURNAL_NAME).write_text("somebody's diary\n")
    with pytest.raises(InputError, match="must hold a whole journal"):
        align_folder(people, mine, settings=_SETTINGS, engine=RayCluster())
    assert (mine / JOURNAL_NAME).read_text() == "somebody's diary\n"


def test_a_folder_in_use(source: Path, aligned: tuple[Path, AlignSummary]) -> None:
    out = aligned[0]
    hold = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire()"
    wait = "print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", f"{hold}; {wait}", str(out / LOCK_NAME)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(InputError, match="another `faceverif align`"):
            align_folder(source, out, settings=_SETTINGS)
        other.kill()
    assert align_folder(source, out, settings=_SETTINGS).done_now == 0  # the crash let go


def test_journal_lines_are_plain_json(aligned: tuple[Path, AlignSummary]) -> None:
    header, *rows = (aligned[0] / JOURNAL_NAME).read_text().splitlines()
    assert json.loads(header)["min_face_px"] == 40
    assert sorted(json.loads(row)["photo"] for row in rows) == list(rows_of(aligned[0]))
