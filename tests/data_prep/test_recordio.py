"""RecordIO: what MXNet wrote is read back, and what nobody wrote is refused at once."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from field_formats import MAGIC, part, payload, picture, record, write_rec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traced_memory import memory_below

from data_prep.errors import InputError
from data_prep.photos import PhotoError, decode_photo
from data_prep.sources import list_source
from data_prep.sources.record_file import RecordFile
from data_prep.sources.recordio import RecordPhoto, list_photos

PHOTOS = [(identity, picture(10 * identity + photo)) for identity in range(2) for photo in range(2)]
fuzz = settings(
    max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def contents(photos: list[RecordPhoto]) -> list[bytes]:
    return [photo.read() for photo in photos]


@pytest.mark.parametrize("index", [True, False])
def test_photos_come_back_byte_for_byte(tmp_path: Path, index: bool) -> None:
    write_rec(tmp_path, PHOTOS, index=index)
    photos = list_photos(tmp_path).photos
    assert [(photo.key, photo.identity) for photo in photos] == [
        ("000000/0000001", "000000"),
        ("000000/0000002", "000000"),
        ("000001/0000003", "000001"),
        ("000001/0000004", "000001"),
    ]
    assert contents(photos) == [data for _, data in PHOTOS]
    assert [photo.key for photo in list_source(tmp_path / "train.rec").photos] == [
        photo.key for photo in photos
    ]


@given(st.lists(st.sampled_from([MAGIC, b"abcd", b"xy", b""]), max_size=9).map(b"".join))
@fuzz
def test_payloads_with_the_magic_number_survive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.rec"
    path.write_bytes(record(payload(content + b"!", 7)) + record(payload(b"next", 8)))
    with RecordFile(path) as records:
        first, second = records.heads()
        assert records.read(first.offset) == content + b"!"
        assert (first.label, first.content_bytes) == (7, len(content) + 1)
        assert records.read(second.offset) == b"next"


def test_labels_of_a_header_and_of_a_photo_with_several(tmp_path: Path) -> None:
    path = tmp_path / "train.rec"
    path.write_bytes(record(payload(b"", 3, 5)) + record(payload(b"photo", 4, 0.5)))
    with RecordFile(path) as records:
        header, photo = records.heads()
        assert header.is_header
        assert not photo.is_header
        assert (header.label, header.labels, records.read(header.offset)) == (3, 2, b"")
        assert (photo.label, photo.labels, records.read(photo.offset)) == (4, 2, b"photo")


# --- what is broken


def test_with_an_index_a_broken_record_costs_one_photo(tmp_path: Path) -> None:
    path = write_rec(tmp_path, PHOTOS)
    data = bytearray(path.read_bytes())
    offset = list_photos(tmp_path).photos[1].offset
    data[offset] ^= 1
    path.write_bytes(data)
    photos = list_photos(tmp_path).photos
    assert [(photo.key, photo.refused) for photo in photos if photo.refused] == [
        ("0000002", "damaged_record")
    ]
    assert len(photos) == 4
    with pytest.raises(PhotoError, match="damaged_record"):
        next(photo for photo in photos if photo.refused).read()
    (tmp_path / "train.idx").unlink()
    with pytest.raises(InputError, match=rf"byte {offset:,}: must hold a whole record"):
        list_photos(tmp_path)


@pytest.mark.parametrize("label", [-1.0, 0.5, float("nan"), float("inf"), 1e30])
def test_a_label_that_is_no_identity_is_a_failure_row(tmp_path: Path, label: float) -> None:
    (tmp_path / "train.rec").write_bytes(record(payload(b"a", label)) + record(payload(b"b", 1)))
    assert [photo.refused for photo in list_photos(tmp_path).photos] == ["damaged_record", None]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "must hold photos"),
        (b"\0" * 64, "not the magic number"),
        (MAGIC, "nothing, the file has 4 bytes"),
        (MAGIC + struct.pack("<I", 2**29 - 1) + b"x" * 64, "536,870,911 bytes claimed, 64 left"),
        (part(struct.pack("<IfQQ", 2**30 - 1, 0, 0, 0) + b"x" * 40), "1,073,741,823 labels claimed"),  # 4 GiB
        (part(b"short"), "fewer than its header"),
        (part(payload(b"a", 1), kind=1), "nothing, the file has"),
        (part(payload(b"a", 1), kind=3), "does not follow"),
        (part(payload(b"a", 1), kind=1) + part(payload(b"b", 1)), "does not follow"),
    ],
)
def test_claims_that_the_file_cannot_keep(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "train.rec").write_bytes(data)
    with memory_below(2_000_000), pytest.raises(InputError, match=said):
        list_photos(tmp_path)


def test_a_huge_record_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "train.rec").open("wb") as file:
        file.write(MAGIC + struct.pack("<I", 2**29 - 4))
        file.truncate(2**30)  # a hole: no disk is used
    with memory_below(2_000_000), pytest.raises(InputError, match="bytes claimed"):
        list_photos(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "got an empty file. Fetch both again, or remove the .idx"),
        ("0\t0\n1\t40\n", "3 of the 4 photos missing"),
        ("0 0 0\n", "the line b'0 0 0'"),
        ("../../etc/passwd\t0\n", "the line"),
        ("0\t-4\n", "the line"),
        ("1\t9223372036854775808\n", "the line b'1.t9223372036854775808'"),
        ("9" * 300 + "\t0\n", "the line"),
        ("0\t0\n1\t0\n", "listed twice"),
        ("0\t0\n0\t40\n", "listed twice"),
        ("5\t99999999\n", "1 records, up to byte 0"),
        ("0\t0\n" * 4000, "larger than the .rec"),
    ],
)
def test_an_index_that_does_not_fit(tmp_path: Path, text: str, said: str) -> None:
    write_rec(tmp_path, PHOTOS)
    (tmp_path / "train.idx").write_text(text)
    with pytest.raises(InputError, match=said):
        list_photos(tmp_path)


def test_a_file_cut_between_records_is_not_taken_for_a_smaller_set(tmp_path: Path) -> None:
    path = write_rec(tmp_path, PHOTOS, index=False)
    path.write_bytes(path.read_bytes()[: list_photos(tmp_path).photos[2].offset])
    with pytest.raises(InputError, match="the 4 photos that its first record announces; got 2"):
        list_photos(tmp_path)


def test_other_identities_than_announced_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rec(tmp_path, PHOTOS)
    (tmp_path / "property").write_text("2,112,112")
    list_photos(tmp_path)
    assert capsys.readouterr().err == ""
    (tmp_path / "property").write_text("10572,112,112")
    list_photos(tmp_path)
    assert "announces 10572 identities; the records have 2" in capsys.readouterr().err


def read_all(folder: Path) -> int:
    """How many photos can be had; anything but InputError and PhotoError is a crash.

    What comes back must be in the file, under a name of its own.
    """
    data, readable = (folder / "train.rec").read_bytes(), 0
    try:
        photos = list_photos(folder).photos
    except InputError:
        return 0
    assert [photo.key for photo in photos] == sorted({photo.key for photo in photos})
    for photo in photos:
        assert photo.offset >= 0
        assert (photo.identity is None) == (photo.refused is not None)
        try:
            content = photo.read()
        except PhotoError:
            continue
        assert all(piece in data for piece in content.split(MAGIC))
        if photo.refused is None:
            assert photo.key.startswith(f"{photo.identity}/")
            assert content
            readable += 1
    return readable


@pytest.mark.parametrize("index", [True, False])
def test_cut_anywhere(tmp_path: Path, index: bool) -> None:
    path = write_rec(tmp_path, [(0, b"abcdefg"), (1, MAGIC * 3)], index=index)
    whole = path.read_bytes()
    last = max(photo.offset for photo in list_photos(tmp_path).photos)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        # The second photo is there only while its record is; without an index, then neither is the first.
        assert read_all(tmp_path) <= (2 if length > last else index)


@given(data=st.data())
@fuzz
def test_flipped_bits_never_crash(tmp_path: Path, data: st.DataObject) -> None:
    path = write_rec(tmp_path, [(0, b"abcdefg"), (1, MAGIC * 3)], index=data.draw(st.booleans()))
    for file in tmp_path.iterdir():
        content = bytearray(file.read_bytes())
        for _ in range(data.draw(st.integers(0, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        file.write_bytes(content)
    assert read_all(path.parent) <= 2


@given(opening=st.booleans(), tail=st.binary(max_size=200))
@fuzz
def test_random_bytes_never_crash(tmp_path: Path, opening: bool, tail: bytes) -> None:
    (tmp_path / "train.rec").write_bytes(MAGIC * opening + tail)
    assert read_all(tmp_path) <= len(tail) // 24  # a record is longer than its header


@pytest.mark.real_data
def test_what_mxnet_wrote(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/insightface/rec"
    photos = list_photos(folder).photos
    assert len(photos) == 300
    assert len({photo.identity for photo in photos}) == 30
    assert not any(photo.refused for photo in photos)
    assert decode_photo(photos[0].read()).shape == (112, 112, 3)
    listed = [line.split("\t") for line in (folder / "train.lst").read_text().splitlines()]
    in_order = sorted(photos, key=lambda photo: photo.offset)
    assert [int(str(photo.identity)) for photo in in_order] == [int(label) for _, _, label in listed]
    for photo, (_, name, _) in list(zip(in_order, listed, strict=True))[::60]:
        original = decode_photo((shared / "data/celeba/images" / name).read_bytes())
        small = np.abs(original.mean((0, 1)) - decode_photo(photo.read()).mean((0, 1)))
        assert small.max() < 25  # the same photo, in crop and size another
    (tmp_path / "train.rec").symlink_to(folder / "train.rec")
    assert [photo.key for photo in list_photos(tmp_path).photos] == [photo.key for photo in photos]
