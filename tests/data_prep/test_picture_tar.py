"""Pictures from a tar or a folder: the same arrays, and nothing that leads out of them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traced_memory import memory_below

from data_prep.errors import InputError, first_line
from data_prep.sources.picture_tar import read_pictures

SPLITS = ("train", "test")
# Shuffled, as a tar may be. Every picture has one colour, the number of its file in red.
NAMES = [
    "train/dog/0002.png",
    "test/cat/0005.png",
    "train/cat/0001.png",
    "train/dog/0000.png",
    "test/dog/0004.png",
]


def picture(red: int, side: int = 4) -> bytes:
    pixels = np.zeros((side, side, 3), dtype=np.uint8)
    pixels[..., 2] = red  # OpenCV writes blue first
    return cv2.imencode(".png", pixels)[1].tobytes()


def contents() -> dict[str, bytes]:
    return {name: picture(int(Path(name).stem)) for name in NAMES}


def write_tar(path: Path, files: dict[str, bytes], *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in extra:
            archive.addfile(member)
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["plain.tar", "zipped.tar.gz", "folder"])
def test_pictures_are_sorted_by_class_and_name(tmp_path: Path, kind: str) -> None:
    write = write_folder if kind == "folder" else write_tar
    beside = {
        "README": b"text",
        "extra/cat/0001.png": b"not read",
        ".hidden/x": b"",
        "train/cat/._0001.png": b"x",
    }
    found = read_pictures(write(tmp_path / kind, contents() | beside))
    assert found["train"].class_names == found["test"].class_names == ("cat", "dog")
    assert found["train"].labels.tolist() == [0, 1, 1]
    assert found["train"].images[:, 0, 0].tolist() == [[1, 0, 0], [0, 0, 0], [2, 0, 0]]
    assert found["test"].images.shape == (2, 4, 4, 3)
    assert found["test"].labels.tolist() == [0, 1]


@pytest.mark.parametrize("above", ["./", "cifar10/", "./data/cifar10/"])
def test_splits_may_lie_deeper_and_what_is_no_picture_is_skipped(
    tmp_path: Path, above: str, capsys: pytest.CaptureFixture[str]
) -> None:
    added = {"train/cat/Thumbs.db": b"", "train/cat/notes.txt": b"text", "__MACOSX/train/cat/1.png": b"x"}
    files = {above + name: content for name, content in (contents() | added).items()}
    found = read_pictures(write_tar(tmp_path / "deep.tar", files))
    assert [len(found[split].labels) for split in SPLITS] == [3, 2]
    said = capsys.readouterr().err
    assert "skipped 3: system_file 2" in said
    assert "no_picture 1" in said


def test_a_picture_twice_and_a_header_that_claims_gigabytes_are_refused(tmp_path: Path) -> None:
    twice = contents() | {"other/train/cat/0001.png": picture(9)}
    with pytest.raises(InputError, match=r"train/cat/0001.png twice"):
        read_pictures(write_tar(tmp_path / "twice.tar", twice))
    claim = bytearray(picture(9))
    claim[16:24] = struct.pack(">II", 40_000, 40_000)
    with pytest.raises(InputError, match="can be decoded"):
        read_pictures(write_tar(tmp_path / "bomb.tar", contents() | {"train/cat/9.png": bytes(claim)}))


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member


@pytest.mark.parametrize(
    ("member", "complaint"),
    [
        (tarfile.TarInfo("../train/cat/0009.png"), "must stay inside"),
        (tarfile.TarInfo("/train/cat/0009.png"), "must stay inside"),
        (tarfile.TarInfo("train/cat/..\\..\\..\\0009.png"), "must stay inside"),
        (link("train/cat/0009.png", tarfile.SYMTYPE), "files and folders only"),
        (link("train/cat/0009.png", tarfile.LNKTYPE), "files and folders only"),
        (link("train/cat/0009.png", tarfile.FIFOTYPE), "files and folders only"),
    ],
)
def test_what_leads_out_of_the_tar_is_refused(
    tmp_path: Path, member: tarfile.TarInfo, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        read_pictures(write_tar(tmp_path / "bad.tar", contents(), member))


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"train/cat/0009.png": picture(9, side=5)}, "of one size"),
        ({"train/cat/0009.png": b"no picture"}, "can be decoded"),
        ({"train/cat/0009.png": b""}, "can be decoded"),
        ({"train/0009.png": picture(9)}, "SPLIT/CLASS/PICTURE"),
        ({"train/cow/0009.png": picture(9)}, "same classes in every split"),
    ],
)
def test_what_is_no_set_of_pictures_is_refused(
    tmp_path: Path, files: dict[str, bytes], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        read_pictures(write_tar(tmp_path / "bad.tar", contents() | files))


def test_missing_and_damaged_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder or a tar"):
        read_pictures(tmp_path / "nothing")
    (tmp_path / "text.tar").write_bytes(b"no tar at all")
    with pytest.raises(InputError, match="must be a whole tar"):
        read_pictures(tmp_path / "text.tar")
    cut = write_tar(tmp_path / "cut.tar.gz", contents())
    cut.write_bytes(cut.read_bytes()[:-40])
    with pytest.raises(InputError, match="must be a whole tar"):
        read_pictures(cut)
    with pytest.raises(InputError, match="must hold pictures in test/CLASS/"):
        read_pictures(write_tar(tmp_path / "half.tar", {NAMES[0]: picture(1)}))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_packed_tar_that_is_damaged_behind_its_beginning_is_refused(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (len(NAMES), 128, 128, 3), dtype=np.uint8)
    files = {name: cv2.imencode(".png", each)[1].tobytes() for name, each in zip(NAMES, noise, strict=True)}
    packed = bytearray(pack(write_tar(tmp_path / "plain.tar", files).read_bytes()))
    for place in range(len(packed) // 2, len(packed) // 2 + 20):
        packed[place] ^= 255
    (tmp_path / "packed").write_bytes(packed)
    with pytest.raises(InputError, match=r"must be a whole tar|that can be decoded"):
        read_pictures(tmp_path / "packed")


def test_a_link_out_of_a_folder_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures", contents())
    (tmp_path / "secret.png").write_bytes(picture(9))
    (folder / "train/cat/0009.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError, match="a link that leaves"):
        read_pictures(folder)


@pytest.mark.parametrize("size_bytes", [2**24 + 1, 2**32, 2**60])
def test_a_picture_that_claims_too_much_costs_nothing(tmp_path: Path, size_bytes: int) -> None:
    claim = tarfile.TarInfo("train/cat/0009.png")
    claim.size = size_bytes
    path = write_tar(tmp_path / "claim.tar", {})
    path.write_bytes(claim.tobuf(tarfile.GNU_FORMAT) + path.read_bytes())
    with memory_below(2_000_000), pytest.raises(InputError, match="must hold small pictures"):
        read_pictures(path)


def read_or_refuse(path: Path) -> None:
    """Anything but whole pictures or an InputError is a crash."""
    try:
        found = read_pictures(path)
    except InputError:
        return
    assert set(found) == set(SPLITS)
    for split in found.values():
        assert split.images.shape == (len(split.labels), 4, 4, 3)
        assert 0 < len(split.labels) <= len(NAMES)
        assert set(split.labels.tolist()) == set(range(len(split.class_names)))


@pytest.mark.parametrize(("name", "step"), [("plain.tar", 256), ("zipped.tar.gz", 5)])
def test_cut_anywhere_it_is_never_taken_for_a_smaller_set(tmp_path: Path, name: str, step: int) -> None:
    path = write_tar(tmp_path / name, contents())
    whole, content = read_pictures(path), path.read_bytes()
    refused = 0
    for length in range(0, len(content), step):
        path.write_bytes(content[:length])
        try:
            found = read_pictures(path)
        except InputError:
            refused += 1
            continue
        assert all(np.array_equal(found[split].images, whole[split].images) for split in SPLITS)
    assert refused > 10


@given(data=st.data())
@settings(max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bits_and_random_bytes_never_crash(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(write_tar(tmp_path / "whole.tar", contents()).read_bytes())
    header = 512 * data.draw(st.integers(0, len(whole) // 512 - 1))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[header + data.draw(st.integers(0, 511))] ^= 1 << data.draw(st.integers(0, 7))
    (tmp_path / "file.tar").write_bytes(bytes(whole) + data.draw(st.binary(max_size=20)))
    read_or_refuse(tmp_path / "file.tar")


def test_an_error_without_words_is_named_by_its_type() -> None:
    assert first_line(EOFError()) == "EOFError"
    assert first_line(OSError(" \nnot a tar\nnor a gzip")) == "not a tar"
