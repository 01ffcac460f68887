"""WebDataset shards: anyone's are read by their convention, and what is no whole, plain tar is refused."""

from __future__ import annotations

import bz2
import errno
import gzip
import json
import tarfile
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
from field_formats import picture, write_tar
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.alignment import TEMPLATES
from data_prep.dataset.manifest import DatasetHeader, header_for
from data_prep.dataset.packed import load_aligned
from data_prep.errors import InputError
from data_prep.photos import PhotoError
from data_prep.sources import list_source
from data_prep.sources.webdataset import list_photos

PHOTO = picture(0)


def sample(**about: object) -> bytes:
    return json.dumps(about).encode()


def exported(**about: object) -> bytes:
    """`__faceverif__` as an export writes it."""
    header = header_for(TEMPLATES["arcface-112"], policy="test", min_face_px=20)
    return sample(**({"header": asdict(header)} | about))


def refused(source: Path) -> str:
    with pytest.raises(InputError) as raised:
        list_photos(source)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_sample_is_what_shares_a_key_up_to_the_first_dot(tmp_path: Path) -> None:
    files = {
        "1.seg.png": b"another picture",
        "1.jpg": PHOTO,
        "1.json": sample(identity="Ada"),
        "2.png": b"two",
        "2.cls": b"17\n",
        "eve/3.JPEG": b"three",
        "4.txt": b"no picture",
        "5.webp": b"five",
    }
    write_tar(tmp_path / "a-0.tar", files | {"late/1.cls": b"5", "2.jpg.txt": b"", "late/1.jpg": b"late"})
    write_tar(tmp_path / "a-1.tar", {"1.jpg": b"the same name in another shard"})
    found = {photo.key: (photo.identity, photo.read()) for photo in list_source(tmp_path).photos}
    assert found == {
        "a-0/1.jpg": ("Ada", PHOTO),
        "a-0/2.png": ("000017", b"two"),
        "a-0/5.webp": (None, b"five"),
        "a-0/eve/3.JPEG": (None, b"three"),  # others have labels: a folder is no label then
        "a-0/late/1.jpg": ("000005", b"late"),
        "a-1/1.jpg": (None, b"the same name in another shard"),
    }
    assert [photo.key for photo in list_source(tmp_path / "a-1.tar").photos] == ["a-1/1.jpg"]
    assert list_source(tmp_path).skipped.text() == (
        "skipped 3: further_picture 1 (a-0.tar/1.seg.png), no_picture 2 (a-0.tar/2.jpg.txt, a-0.tar/4.txt)"
    )


def shard(tmp_path: Path, *names: str, labels: dict[str, bytes] | None = None) -> dict[str, str | None]:
    """Key, without the shard's name -> identity."""
    write_tar(tmp_path / "s.tar", dict.fromkeys(names, PHOTO) | (labels or {}))
    return {photo.key.removeprefix("s/"): photo.identity for photo in list_source(tmp_path / "s.tar").photos}


def test_names_with_dots_are_whole_photos(tmp_path: Path) -> None:
    assert shard(tmp_path, "m.0abc/m.0abc_0001.jpg", "m.0abc/m.0abc_0002.jpg", "m.0abd/m.0abd_0001.jpg") == {
        "m.0abc/m.0abc_0001.jpg": "m.0abc",
        "m.0abc/m.0abc_0002.jpg": "m.0abc",
        "m.0abd/m.0abd_0001.jpg": "m.0abd",
    }
    assert shard(tmp_path, "1/1_0.jpg", "1/1_1.v2.jpg", "2/2.a.b.jpg") == {
        "1/1_0.jpg": "1",
        "1/1_1.v2.jpg": "1",
        "2/2.a.b.jpg": "2",
    }


def test_labels_are_found_where_people_write_them(tmp_path: Path) -> None:
    labels = {"s1.target.cls": b"1", "s2.target.cls": b"2"}
    assert shard(tmp_path, "s1.input.jpg", "s2.input.jpg", labels=labels) == {
        "s1.input.jpg": "000001",
        "s2.input.jpg": "000002",
    }
    labels = {
        "m.1_1.cls": b"Ann",
        "m.1_2.cls": "Zo\u00eb".encode(),
        "m.1_3.cls": b"-1",
        "m.1_4.cls": b"\xff\0",
    }
    names = [f"m.1_{number}.jpg" for number in range(1, 6)]
    assert list(shard(tmp_path, *names, labels=labels).values()) == ["Ann", "Zo\u00eb", None, None, None]
    refused = {photo.key: photo.refused for photo in list_photos(tmp_path / "s.tar").photos if photo.refused}
    assert refused == {"s/m.1_4.jpg": "damaged_label"}
    labels = {"a.json": sample(label=7), "b.json": sample(label=[7])}
    assert shard(tmp_path, "a.jpg", "b.jpg", labels=labels) == {"a.jpg": "000007", "b.jpg": None}


def test_a_label_means_the_same_in_json_and_in_a_text(tmp_path: Path) -> None:
    for label in ("7", "-1", "Ann"):
        texts = {"a.cls": label.encode(), "b.json": sample(label=label)}
        found = shard(tmp_path, "a.jpg", "b.jpg", labels=texts)
        assert found["a.jpg"] == found["b.jpg"]
    assert shard(tmp_path, "a.jpg", labels={"a.json": sample(cls=-1)}) == {"a.jpg": None}
    assert shard(tmp_path, "a.jpg", labels={"a.json": sample(identity="-1")}) == {"a.jpg": "-1"}


LONG = "n" * 201
NAMES_IN_JSON = {
    "": (None, None),
    " \t": (None, None),
    "-1": ("-1", None),
    "7": ("7", None),
    " Ann": (" Ann", None),
    "\u0645\u06cc\u200c\u0646\u0627": ("\u0645\u06cc\u200c\u0646\u0627", None),  # a Persian name
    "An\nn": (None, "damaged_label"),
    "\u202eAnn": (None, "damaged_label"),
    LONG: (None, "damaged_label"),
}


def test_an_identity_in_json_is_a_name_and_an_empty_one_is_nobody(tmp_path: Path) -> None:
    files = {}
    for number, name in enumerate(NAMES_IN_JSON):
        files |= {f"{number}.jpg": PHOTO, f"{number}.json": sample(identity=name)}
    path = write_tar(tmp_path / "a.tar", files)
    found = [(photo.identity, photo.refused) for photo in list_photos(path).photos]
    assert found == list(NAMES_IN_JSON.values())
    path = write_tar(path, {"__faceverif__": exported(photos=len(NAMES_IN_JSON)), **files})
    found = [(photo.identity, photo.refused) for photo in list_photos(path).photos]
    assert found == [(name if name.strip() else None, None) for name in NAMES_IN_JSON], "an export keeps them"


@pytest.mark.parametrize("label", ["", " \n"])
def test_an_empty_label_is_nobody(tmp_path: Path, label: str) -> None:
    labels = {"a.cls": label.encode(), "b.json": sample(label=label), "c.json": sample(label="Ann")}
    assert list(shard(tmp_path, "a.jpg", "b.jpg", "c.jpg", labels=labels).values()) == [None, None, "Ann"]


def test_a_tar_of_a_folder_names_the_people(tmp_path: Path) -> None:
    people = {"Ann/1.jpg": "Ann", "Bob/1.jpg": "Bob"}
    for above in ("./", "lfw/", "./lfw/lfw-deepfunneled/"):
        found = shard(tmp_path, *(above + name for name in people))
        assert list(found.values()) == ["Ann", "Bob"]
    assert shard(tmp_path, "./1.jpg", "./2.jpg") == {"1.jpg": None, "2.jpg": None}
    assert shard(tmp_path, "images/1.jpg", "images/2.jpg") == {"images/1.jpg": None, "images/2.jpg": None}
    write_tar(tmp_path / "s.tar", {"train/Ann/1.jpg": PHOTO, "test/Bob/1.jpg": PHOTO})
    assert "test, train above the people" in refused(tmp_path / "s.tar")
    assert "Unpack it" in refused(tmp_path / "s.tar")


def test_what_archivers_add_is_no_sample(tmp_path: Path) -> None:
    added = {
        "./._1.jpg": b"mac",
        "./._1.cls": b"mac",
        "__MACOSX/1.jpg": b"mac",
        "a/.DS_Store": b"",
        "Thumbs.db": b"",
    }
    found = {"./1.cls": b"4", "./1.jpg": PHOTO}
    assert shard(tmp_path, labels=added | found) == {"1.jpg": "000004"}
    assert (
        list_photos(tmp_path / "s.tar").skipped.text().startswith("skipped 5: system_file 5 (s.tar/._1.jpg, ")
    )


def test_a_broken_description_costs_its_photo_only(tmp_path: Path) -> None:
    files = {"1.jpg": PHOTO, "1.json": b"{", "2.jpg": PHOTO, "2.json": b"[" * 9999, "3.jpg": PHOTO}
    write_tar(tmp_path / "a.tar", files | {"4.jpg": PHOTO, "4.json": sample(landmarks="none", sha256=3)})
    photos = list_photos(tmp_path).photos
    assert [photo.refused for photo in photos] == ["damaged_json", "damaged_json", None, None]
    assert photos.table.select(["landmarks", "sha256"]).to_pylist()[3] == {"landmarks": None, "sha256": None}


@pytest.mark.parametrize(
    "about",
    [
        {"identity": "\ud800"},
        {"photo": "\ud800"},
        {"sha256": "\ud800"},
        {"landmarks": [10**400] * 10},
        {"landmarks": [1e39] * 10},
        {"landmarks": [float("nan")] * 10},
    ],
)
def test_what_no_manifest_can_hold_costs_its_photo_only(tmp_path: Path, about: dict[str, object]) -> None:
    export = {"__faceverif__": exported(photos=2), "1.jpg": PHOTO, "1.json": sample(**about), "2.jpg": PHOTO}
    write_tar(tmp_path / "a.tar", export)
    table = load_aligned(tmp_path).table
    assert table["photo"].to_pylist() == ["a/1.jpg", "a/2.jpg"]
    assert table["reason"].to_pylist() == ["damaged_json", None]


def test_a_name_that_is_no_utf8_is_written_out(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"__faceverif__": exported(photos=1), "\udcff.jpg": PHOTO})
    assert load_aligned(tmp_path).table["photo"].to_pylist() == ["a/\\xff.jpg"]


def test_every_picture_that_a_folder_may_hold_counts_in_a_tar_too(tmp_path: Path) -> None:
    names = [f"Ann/{number}.{ending}" for number, ending in enumerate(["bmp", "gif", "tif", "JPE", "avif"])]
    assert shard(tmp_path, *names, "Bob/1.jpg", "Bob/1.gif") == {
        **dict.fromkeys(names, "Ann"),
        "Bob/1.jpg": "Bob",
    }


def test_a_folder_of_people_may_hold_a_tar(tmp_path: Path) -> None:
    write_tar(tmp_path / "backup.tar", {"1.jpg": PHOTO})
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada/1.jpg").write_bytes(PHOTO)
    photos, skipped = list_source(tmp_path)
    assert [photo.key for photo in photos] == ["ada/1.jpg"]
    assert skipped.text() == "skipped 1: no_picture 1 (backup.tar)"
    assert [photo.key for photo in list_source(tmp_path / "ada").photos] == ["1.jpg"]


@pytest.mark.parametrize("kept", [0.5, "a member less", "no end"])
def test_a_torn_tar_is_refused(tmp_path: Path, kept: object) -> None:
    path = write_tar(tmp_path / "a.tar", {f"{number}.jpg": PHOTO for number in range(4)})
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
    ends = {
        0.5: len(whole) // 2,
        "a member less": last.offset,
        "no end": len(whole.rstrip(b"\0")) // 512 * 512,
    }
    path.write_bytes(whole[: ends[kept]])  # type: ignore[index]
    assert str(path) in refused(tmp_path)
    assert "whole" in refused(tmp_path)


def test_a_shard_that_the_system_does_not_give_is_not_called_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / "a.tar", {"1.jpg": PHOTO})

    def no_rights(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("data_prep.sources.shard_file.tarfile.open", no_rights)
    with pytest.raises(PermissionError):
        list_source(path)


def test_a_compressed_tar_and_a_text_are_refused(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole", {"1.jpg": PHOTO}).read_bytes()
    for content in (gzip.compress(whole), bz2.compress(whole), b"no tar at all", b""):
        (tmp_path / "a.tar").write_bytes(content)
        said = refused(tmp_path / "a.tar")
        assert "must be a whole tar without compression" in said
        assert ("Unpack it, tar xf " in said) == (len(content) > 20)


@pytest.mark.parametrize("name", ["../1.jpg", "/1.jpg", "a/../../1.jpg", "C:\\1.jpg"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    write_tar(tmp_path / "a.tar", {name: PHOTO})
    assert "must stay inside its folder" in refused(tmp_path)
    write_tar(tmp_path / "a.tar", {"1.jpg": PHOTO, "1.json": sample(photo=name)})
    assert "must stay inside its folder" in refused(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("1.jpg")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    assert "plain files only" in refused(tmp_path)


def test_a_sample_twice_and_a_set_without_pictures_are_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"1.jpg": PHOTO, "1.json": sample(photo="x.jpg"), "2.jpg": PHOTO})
    write_tar(tmp_path / "b.tar", {"1.jpg": PHOTO, "1.json": sample(photo="x.jpg")})
    assert "x.jpg twice" in refused(tmp_path)
    write_tar(tmp_path / "b.tar", {"x/./p.jpg": PHOTO, "x//p.jpg": b"another face"})
    assert "x/p.jpg twice" in refused(tmp_path / "b.tar")
    write_tar(tmp_path / "b.tar", {"1.txt": b"text"})
    assert "must hold samples with a picture" in refused(tmp_path / "b.tar")


def test_a_shard_that_shrinks_later_gives_an_unreadable_photo(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"1.jpg": PHOTO})
    [photo] = list_photos(tmp_path).photos
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(PhotoError, match="unreadable"):
        photo.read()


fuzz = settings(
    max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(st.data())
@fuzz
def test_damaged_bytes_give_photos_or_one_error(tmp_path: Path, data: st.DataObject) -> None:
    path = write_tar(tmp_path / "a.tar", {"1.jpg": b"photo", "1.json": sample(identity="Ada"), "2.cls": b"1"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 3000))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(InputError):
        assert all(photo.offset + photo.size <= len(content) for photo in list_photos(path).photos)


NUMBERS = st.one_of(st.integers(), st.floats(), st.just(10**400))
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(st.characters())),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=5,
)
LANDMARKS = st.one_of(JSON_VALUES, st.lists(NUMBERS, min_size=10, max_size=10))


@given(
    about=st.fixed_dictionaries(
        {},
        optional={
            "photo": JSON_VALUES,
            "identity": JSON_VALUES,
            "sha256": JSON_VALUES,
            "landmarks": LANDMARKS,
        },
    )
)
@fuzz
def test_any_json_gives_a_row_or_one_error(tmp_path: Path, about: dict[str, object]) -> None:
    files = {"__faceverif__": exported(photos=1), "1.jpg": PHOTO, "1.json": sample(**about)}
    path = write_tar(tmp_path / "a.tar", files)
    try:
        [row] = load_aligned(path).table.to_pylist()
    except InputError:  # a photo's name that leads out
        assert about.get("photo")
        return
    assert row["reason"] in (None, "damaged_json", "damaged_label")
    assert row["landmarks"] is None or np.isfinite(row["landmarks"]).all()


@given(
    key=st.sampled_from(["header", "photos", *(field.name for field in fields(DatasetHeader))]),
    value=JSON_VALUES,
)
@fuzz
def test_any_header_is_one_or_gives_one_error(tmp_path: Path, key: str, value: object) -> None:
    about = json.loads(exported(photos=1))
    (about if key in about else about["header"])[key] = value
    path = write_tar(tmp_path / "a.tar", {"__faceverif__": sample(**about), "1.jpg": PHOTO})
    with suppress(InputError):
        header = load_aligned(path).header
        assert (type(header.crop_px), type(header.template), type(header.versions)) == (int, str, dict)
