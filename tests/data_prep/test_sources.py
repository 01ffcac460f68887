"""Every kind of source is recognised by its files, names its photos, and lets nothing out of its folder."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from field_formats import accepted, picture, spliced, write_bin, write_rec
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from data_prep.alignment import find_template
from data_prep.alignment.landmarks import align_face
from data_prep.dataset.already_aligned import FORMS, CropForm, Sample
from data_prep.dataset.manifest import AlignedDataset, header_for, write_manifest
from data_prep.detection.cascade import CascadeDetector
from data_prep.errors import InputError
from data_prep.inside import refuse_link_outside, refuse_name_outside
from data_prep.photos import read_photo
from data_prep.prepare import workers
from data_prep.prepare.align_folder import align_folder
from data_prep.prepare.task import AlignSettings
from data_prep.protocols import protocol_alone
from data_prep.sources import FORMATS, cfp, list_source
from data_prep.sources.base import FilePhoto

TEMPLATE = find_template("arcface-112")


def put(path: Path, content: bytes = b"photo") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def keys(source: Path) -> list[str]:
    return [photo.key for photo in list_source(source).photos]


# --- names and links


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "a/../../b.jpg",
        "/etc/passwd",
        "..",
        "..\\..\\a.jpg",
        "a\\..\\b",
        "\\\\server\\share",
        "C:\\a.jpg",
        "c:/a.jpg",
        "C:a.jpg",
        "a\0.jpg",
    ],
)
def test_names_that_leave_are_refused_everywhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="stay inside"):
        refuse_name_outside(name, field="list")
    csv = put(tmp_path / "p.csv", f'left,right,same\na,b,1\n"{name}",b,0\n'.encode())
    with pytest.raises(InputError, match=r"p\.csv, line 3: a photo's name must stay inside"):
        protocol_alone(csv)
    row = dict.fromkeys(("crop", "sha256", "reason", "width", "height", "box", "landmarks", "score", "faces"))
    row |= {"identity": "x", "status": "aligned"}
    header = header_for(TEMPLATE, policy="centred-largest", min_face_px=20)
    write_manifest(tmp_path, header, [row | {"photo": "a/1.jpg", "crop": name}])
    with pytest.raises(InputError, match="column crop: a photo's name must stay inside"):
        AlignedDataset.load(tmp_path)


@pytest.mark.parametrize(
    "name", ["a/b.jpg", "a..b/c..jpg", "..a/b", "\\xff/1.jpg", "J.R. Ö/1.jpg", "a/…/b", "V: The Artist/1.jpg"]
)
def test_names_that_stay_are_kept(name: str) -> None:
    assert refuse_name_outside(name, field="list") == name


@given(st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "C:", "\\xff", " "]), max_size=6).map("".join))
@settings(derandomize=True)
def test_what_is_kept_never_leaves(name: str) -> None:
    try:
        refuse_name_outside(name, field="list")
    except InputError:
        return
    root = Path("/data/set")
    assert Path(*root.parts, *name.split("/")).is_relative_to(root)
    assert ".." not in name.replace("\\", "/").split("/")


def test_links_inside_stay_and_links_outside_do_not(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    photo = put(inside / "a/1.jpg")
    put(outside / "2.jpg")
    (inside / "same.jpg").symlink_to(photo)
    (inside / "b").symlink_to(outside)
    refuse_link_outside(inside / "same.jpg", inside.resolve())
    with pytest.raises(InputError, match="must not be a link that leaves"):
        refuse_link_outside(inside / "b/2.jpg", inside.resolve())


# --- CelebA


def celeba(root: Path, *lines: str, place: str = "identity_CelebA.txt") -> Path:
    put(root / place, "\n".join(lines).encode())
    return root


def test_celeba_as_it_comes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    celeba(tmp_path, "000001.jpg 2880", "000002.jpg 12", "000003.jpg 12", place="Anno/identity_CelebA.txt")
    for name in ("000001.jpg", "000002.jpg", "stranger.jpg"):
        put(tmp_path / "Img/img_align_celeba" / name)
    photos = {photo.key: photo for photo in list_source(tmp_path).photos}
    assert {key: (photo.identity, photo.refused) for key, photo in photos.items()} == {
        "00012/000002.jpg": ("00012", None),
        "02880/000001.jpg": ("02880", None),
        "Img/img_align_celeba/stranger.jpg": (None, "no_identity"),
    }
    assert list(photos) == sorted(photos)
    assert "holds 2 of the 3 photos" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ["000001.jpg", "000001.jpg x", "a.jpg -1", "a.jpg 1 2", "a.jpg 9999999999", "0.jpg 3", "\0\xff"]
)
def test_a_broken_identity_line_is_named(tmp_path: Path, line: str) -> None:
    put(celeba(tmp_path, "0.jpg 1", line) / "images/0.jpg")
    with pytest.raises(InputError, match=r"identity_CelebA.txt, line 2"):
        list_source(tmp_path)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "C:/a.jpg"])
def test_identity_files_name_no_files_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="must stay inside"):
        list_source(celeba(tmp_path, f"{name} 1"))


def test_celeba_refuses_two_versions_of_a_photo_none_at_all_and_links_out(tmp_path: Path) -> None:
    source = celeba(tmp_path / "celeba", "1.jpg 1")
    with pytest.raises(InputError, match="must hold photos"):
        list_source(source)
    put(source / "img_celeba/1.jpg")
    put(source / "img_align_celeba/1.jpg")
    with pytest.raises(InputError, match="each photo once"):
        list_source(source)
    shutil.rmtree(source / "img_celeba")
    (source / "img_align_celeba/1.jpg").unlink()
    (source / "img_align_celeba/1.jpg").symlink_to(put(tmp_path / "secret.jpg"))
    with pytest.raises(InputError, match="a link that leaves"):
        list_source(source)


def test_other_identity_files_name_a_person_or_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "images/1.jpg")

    def read(content: bytes) -> bool:
        put(tmp_path / "identity_CelebA.txt", content)
        try:
            photos = list_source(tmp_path).photos
        except InputError:
            return False
        assert [photo.key for photo in photos] == [f"{photos[0].identity}/1.jpg"]
        assert str(photos[0].identity).isdecimal()
        return True

    contents = st.one_of(st.binary(max_size=80), spliced(b"1.jpg 2880\n2.jpg 2937\n"))
    assert accepted(read, contents, examples=80) > 10


# --- CFP, and which source is which


@pytest.mark.parametrize(
    ("between", "below"),
    [
        ("", ""),
        ("", "Data/Images"),
        ("train/", ""),
        ("train/", "Data/Images"),
        ("train/", "Data/Images/train"),
    ],
)
def test_cfp_in_any_layout_has_the_lists_names(tmp_path: Path, between: str, below: str) -> None:
    put(tmp_path / f"Data/Images/{between}001/frontal/01.jpg")
    put(tmp_path / f"Data/Images/{between}001/profile/02.jpg")
    put(tmp_path / "Data/Fiducials/001/frontal/01.txt")
    put(tmp_path / "Protocol/Pair_list_F.txt")
    assert keys(tmp_path / below) == ["001/frontal/01.jpg", "001/profile/02.jpg"]
    assert {photo.identity for photo in cfp.list_photos(tmp_path / below).photos} == {"001"}


def test_sources_are_recognised_by_content(tmp_path: Path) -> None:
    write_rec(tmp_path / "rec", [(0, b"a")])
    write_bin(tmp_path / "renamed", [b"a", b"b"], [True])
    put(tmp_path / "folder/Ann/1.jpg")
    put(tmp_path / "cfp/001/frontal/01.jpg")
    put(tmp_path / "cfp/001/profile/01.jpg")
    celeba(tmp_path / "celeba", "1.jpg 1")
    shutil.copy(tmp_path / "rec/train.rec", tmp_path / "other.dat")
    found = {
        name: next(known.description for known in FORMATS if known.recognises(tmp_path / name))
        for name in ("rec", "other.dat", "renamed", "folder", "cfp", "celeba")
    }
    rec = "InsightFace's train.rec, or the folder of it"
    assert found == {
        "rec": rec,
        "other.dat": rec,
        "renamed": "an InsightFace .bin",
        "folder": "a folder of photos per identity",
        "cfp": "CFP",
        "celeba": "CelebA with identity_CelebA.txt",
    }
    with pytest.raises(InputError, match="must be a folder or file of photos: InsightFace"):
        list_source(put(tmp_path / "thesis.txt"))


@pytest.mark.real_data
def test_real_sources(shared: Path) -> None:
    data = shared / "data"
    counts = {"cfp": 280, "cfp/Data/Images": 280, "insightface/small_lfw.bin": 20, "insightface/rec": 300}
    assert {name: len(list_source(data / name).photos) for name in counts} == counts


# --- crops that are aligned already


@pytest.fixture(scope="module")
def crops(people: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same faces aligned to the template, and cut by their boxes to the same size."""
    root = tmp_path_factory.mktemp("crops")
    photos = [read_photo(path) for path in sorted(people.rglob("*.jpg"))]
    for number, (photo, faces) in enumerate(zip(photos, CascadeDetector(30).detect(photos), strict=True)):
        x1, y1, x2, y2 = faces.boxes[0].astype(int).clip(0)
        aligned = align_face(photo, faces.landmarks[0], TEMPLATE)
        save(root / f"aligned/p{number % 2}/{number}.jpg", aligned)
        save(root / f"cut/p{number % 2}/{number}.jpg", cv2.resize(photo[y1:y2, x1:x2], (112, 112)))
    return {name: root / name for name in ("aligned", "cut")}


def save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)


def form_of_source(source: Path) -> CropForm | None:
    return Sample(list_source(source).photos).form()


def test_crops_are_known_by_where_their_landmarks_lie(
    people: Path, crops: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert form_of_source(people) is None
    assert capsys.readouterr().err == ""  # another size: nothing to say
    form = form_of_source(crops["aligned"])
    assert form is not None
    assert (form.template, form.is_whole) == (TEMPLATE, True)
    assert "taken over without a new alignment" in capsys.readouterr().err
    assert form_of_source(crops["cut"]) is None
    assert "px away: not aligned yet" in capsys.readouterr().err
    with pytest.raises(InputError, match="must be arcface-112 for photos that are such crops already"):
        align_folder(crops["aligned"], tmp_path / "out", settings=AlignSettings(template="arcface-64"))


def test_faceless_pictures_of_that_size_are_no_crops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = FilePhoto(key="a/1.png", identity="a", path=put(tmp_path / "1.png", picture(0, side=112)))
    assert Sample([photo]).form() is None
    assert "no faces are found" in capsys.readouterr().err


def test_of_other_photos_few_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "1.png", picture(0, side=200))
    read: list[str] = []
    monkeypatch.setattr(FilePhoto, "read", lambda self: read.append(self.key) or path.read_bytes())
    photos = [FilePhoto(key=f"a/{number}.png", identity="a", path=path) for number in range(100)]
    assert Sample(photos).form() is None
    assert len(read) == 4  # of 32: more than one in ten


@pytest.mark.parametrize("template", ["arcface-64", "arcface-128", "arcface-160"])
def test_crops_of_every_template_are_known(people: Path, tmp_path: Path, template: str) -> None:
    wanted = find_template(template)
    for number, path in enumerate(sorted(people.rglob("*.jpg"))[:4]):
        photo = read_photo(path)
        faces = CascadeDetector(30).detect([photo])[0]
        save(tmp_path / f"p/{number}.jpg", align_face(photo, faces.landmarks[0], wanted))
    form = form_of_source(tmp_path)
    assert form is not None
    assert form.template == wanted


def test_narrow_crops_become_as_wide_as_their_template(crops: dict[str, Path], tmp_path: Path) -> None:
    narrow = {}
    for path in sorted(crops["aligned"].rglob("*.jpg")):
        name = f"{path.parent.name}/{path.stem}.png"
        narrow[name] = read_photo(path)[:, 8:-8]
        save(tmp_path / "narrow" / name, narrow[name])
    summary = align_folder(tmp_path / "narrow", tmp_path / "out", settings=AlignSettings())
    policy = "already aligned, 96 x 112 with black columns added"
    assert f"{len(narrow)} of {len(narrow)} photos {policy}" in summary.text()
    dataset = AlignedDataset.load(tmp_path / "out")
    assert (dataset.header.policy, dataset.header.template) == (policy, "arcface-112")
    pixels = dataset.crops.read(range(len(dataset)))
    assert not pixels[:, :, :8].any()
    assert not pixels[:, :, -8:].any()
    np.testing.assert_array_equal(pixels[:, :, 8:-8], np.stack([narrow[name] for name in sorted(narrow)]))


def test_a_crop_that_the_reader_of_crops_does_not_take_is_stored_without_loss(
    crops: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(workers, "decode_crop", lambda content, crop_px: None)
        align_folder(crops["aligned"], tmp_path / "out", settings=AlignSettings())
    dataset = AlignedDataset.load(tmp_path / "out")
    photos = [read_photo(crops["aligned"] / photo) for photo in dataset.photos(range(len(dataset)))]
    assert {Path(name).suffix for name in dataset.column("crop")} == {".png"}
    np.testing.assert_array_equal(dataset.crops.read(range(len(dataset))), np.stack(photos))


def test_crops_are_taken_over_byte_for_byte(crops: dict[str, Path], tmp_path: Path) -> None:
    files = sorted(crops["aligned"].rglob("*.jpg"))
    contents = [path.read_bytes() for path in files]
    contents += [picture(1, side=112, form="PNG"), picture(2, side=64), b"", b"no picture"]
    source = write_rec(tmp_path / "rec", [(number % 2, content) for number, content in enumerate(contents)])
    summary = align_folder(source.parent, tmp_path / "out", settings=AlignSettings())
    assert f"{len(files) + 1} of {len(contents)} photos already aligned: taken over" in summary.text()
    assert sum(summary.failures.values()) == 3
    dataset = AlignedDataset.load(tmp_path / "out")
    assert (dataset.header.policy, dataset.header.template) == ("already aligned", "arcface-112")
    rows = {row["photo"]: row for row in dataset.table.to_pylist()}
    for number, content in enumerate(contents[: len(files)], start=1):
        row = rows[f"{(number - 1) % 2:06d}/{number:07d}"]
        assert (dataset.root / row["crop"]).read_bytes() == content
        assert row["sha256"] == row["crop_sha256"] == hashlib.sha256(content).hexdigest()
        assert (row["status"], row["landmarks"], row["width"]) == ("aligned", None, 112)
    png = next(row for row in rows.values() if str(row["crop"]).endswith(".png"))
    row = dataset.column("crop").tolist().index(png["crop"])
    np.testing.assert_array_equal(dataset.crops.read([row])[0], read_photo(dataset.root / png["crop"]))
    assert sorted(row["reason"] for row in rows.values() if row["reason"]) == [
        "damaged_record",
        "not_an_image",
        "other_size",
    ]
    again = align_folder(source.parent, tmp_path / "out", settings=AlignSettings())
    assert "complete already" in again.text()


@pytest.mark.real_data
def test_insightfaces_crops_are_known_and_celebas_are_not(shared: Path) -> None:
    data = shared / "data/insightface"
    assert form_of_source(data / "small_lfw.bin") == FORMS[1]
    assert form_of_source(data / "rec") is None  # 112 x 112, yet not on the template
