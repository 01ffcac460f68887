"""`.bin` sets: plain data of any Python comes back; whatever would run, or cost, is refused."""

from __future__ import annotations

import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from field_formats import picture, python2_bin, write_bin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traced_memory import memory_below

from data_prep.errors import InputError
from data_prep.photos import decode_photo
from data_prep.protocols import ProtocolSize, own_lists, protocol_alone
from data_prep.protocols.benchmarks import BENCHMARKS
from data_prep.protocols.own_lists import repeats_fingerprint
from data_prep.protocols.suite_lists import find_lists
from data_prep.sources import list_source
from data_prep.sources.insightface_bin import list_photos, read_bin
from data_prep.sources.plain_pickle import read_plain_pickle

CONTENTS = [bytes([i]) * (100 * i + 1) for i in range(8)]
SAME = [True, False, False, True]
fuzz = settings(
    max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("form", ["bytes", "array", "readonly"])
@pytest.mark.parametrize("flags", ["list", "numbers", "array", "scalars"])
def test_python_3_and_numpy(tmp_path: Path, protocol: int, form: str, flags: str) -> None:
    photos: list[Any] = list(CONTENTS)
    if form != "bytes":
        photos = [np.frombuffer(content, dtype=np.uint8) for content in CONTENTS]
    if form == "array":
        photos = [photo.copy() for photo in photos]
    same = {
        "list": SAME,
        "numbers": [int(flag) for flag in SAME],
        "array": np.array(SAME),
        "scalars": list(np.array(SAME)),
    }[flags]
    read = read_bin(write_bin(tmp_path / "set.bin", photos, same, protocol=protocol))
    assert read.photos == CONTENTS
    assert read.same.tolist() == SAME


def test_python_2(tmp_path: Path) -> None:
    path = tmp_path / "set.bin"
    path.write_bytes(python2_bin(CONTENTS, SAME))
    assert (read_bin(path).photos, read_bin(path).same.tolist()) == (CONTENTS, SAME)


def test_a_photo_used_twice_is_written_once_and_read_twice(tmp_path: Path) -> None:
    photo = np.frombuffer(b"abc", dtype=np.uint8).copy()
    assert read_bin(write_bin(tmp_path / "set.bin", [photo, photo], [True])).photos == [b"abc"] * 2


def test_photos_have_stable_names_and_no_identity(tmp_path: Path) -> None:
    photos = list_photos(write_bin(tmp_path / "small.bin", CONTENTS, SAME)).photos
    assert [photo.key for photo in photos[:3]] == [
        "small/pair0001-left",
        "small/pair0001-right",
        "small/pair0002-left",
    ]
    assert {photo.identity for photo in photos} == {None}
    assert [photo.read() for photo in photos] == CONTENTS


# --- files that would run code


class Runs:
    """Pickles as a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def touch(path: Path) -> str:
    return f"open({str(path)!r}, 'w')"


def attacks(mark: Path) -> dict[str, bytes]:
    import os

    path = str(mark).encode()
    text = touch(mark).encode()
    array = np.zeros(3, np.uint8).__reduce__()
    return {
        "os.system": pickle.dumps(([Runs(os.system, (f"touch {mark}",))], [True])),
        "eval": pickle.dumps(Runs(eval, (touch(mark),))),
        "in place of the flags": pickle.dumps((CONTENTS, Runs(exec, (touch(mark),)))),
        "old style": b"\x80\x02cposix\nsystem\nX"
        + struct.pack("<I", len(path) + 6)
        + b"touch "
        + path
        + b"\x85R.",
        "python 2 names": b"\x80\x02c__builtin__\neval\nX" + struct.pack("<I", len(text)) + text + b"\x85R.",
        "instance": b"\x80\x02(X" + struct.pack("<I", len(text)) + text + b"ibuiltins\neval\n.",
        "object": b"\x80\x02(cbuiltins\neval\nX" + struct.pack("<I", len(text)) + text + b"o.",
        "new object": b"\x80\x02cpathlib\nPath\nX" + struct.pack("<I", len(path)) + path + b"\x85\x81.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"\x80\x02X\x01\x00\x00\x00aQ.",
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0cdtype.__new__\x93.",
        "numpy load": pickle.dumps(Runs(np.load, (str(mark), None, True))),
        "numpy's own names for others": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncbuiltins\nobject\n.",
        "reconstruct of a name": pickle.dumps(Runs(array[0], (dict, (0,), b"b"))),
        "object array": pickle.dumps(([np.array([Runs(os.system, ("true",))], dtype=object)], [True])),
        "array of objects": pickle.dumps(([np.array([None, None], dtype=object)], [True])),
        "state that is a dict": b"\x80\x02]}b.",
        "nested": pickle.dumps(([[(Runs(getattr, (Path, "home")),)]], [True])),
    }


@pytest.mark.parametrize("name", sorted(attacks(Path("mark"))))
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / "lfw.bin"
    path.write_bytes(attacks(tmp_path / "mark")[name])
    for read in (read_bin, list_source, protocol_alone):
        with pytest.raises(InputError, match="no part of it was run"):
            read(path)
    assert not (tmp_path / "mark").exists()


def test_the_attacks_are_real(tmp_path: Path) -> None:
    for name in ("os.system", "eval", "old style", "python 2 names", "instance", "object"):
        mark = tmp_path / name.replace(" ", "-")
        stream = pickle.loads(attacks(mark)[name])
        if hasattr(stream, "close"):
            stream.close()
        assert mark.exists(), name


# --- files that claim too much


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x",  # a terabyte of bytes
        b"\x80\x04B" + struct.pack("<I", 2**32 - 1) + b"x",
        b"\x80\x02T" + struct.pack("<i", -5) + b"x",
        b"\x80\x02K\x01r" + struct.pack("<I", 2**32 - 1) + b".",  # a memo of four billion entries
        b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",  # a deep nest
        b"\x80\x02]q\x00h\x00a.",  # a list in itself
        b"\x80\x02" + b"(" * 20_000,
        b"\x80\x02N" + b"0N" * 1000 + b".",
        b"\x80\x07.",
        b"\x80",
        b"(lp0\n.",  # protocol 0
        b"",
    ],
)
def test_claims_cost_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "set.bin"
    path.write_bytes(data)
    with memory_below(40_000_000), pytest.raises(InputError, match=r"set\.bin"):
        read_bin(path)


def test_text_may_not_multiply() -> None:
    """Bytes of old protocols come as text to be encoded; from the memo that could be had again and again."""
    start = b"\x80\x02c_codecs\nencode\nq\x00X" + struct.pack("<I", 1000) + b"a" * 1000 + b"q\x01"
    again = b"h\x00h\x01X\x06\x00\x00\x00latin1\x86R"
    with pytest.raises(InputError, match="more text than the file is long"):
        read_plain_pickle(start + 10_000 * again + b".", field="set.bin")


def test_steps_are_bounded() -> None:
    with pytest.raises(InputError, match="1,000,000 steps"):
        read_plain_pickle(b"\x80\x02" + b"N" * 1_100_000, field="set.bin")


def test_arrays_must_fit_their_shape() -> None:
    whole = pickle.dumps(np.arange(6, dtype=np.uint8), protocol=2)
    with pytest.raises(InputError, match=r"shape \(7,\) in 6 bytes"):
        read_plain_pickle(whole.replace(b"K\x06\x85", b"K\x07\x85"), field="set.bin")


@pytest.mark.parametrize(
    ("photos", "same", "said"),
    [
        ([b"a", b"b", b"c"], [True], "3 photos and 1 flag"),
        ([], [], "0 photos and 0 flags"),
        ([b"a", "b"], [True], "neither bytes nor an array"),
        ([b"a", np.zeros(2, np.int32)], [True], "neither bytes nor an array"),
        ([b"a", b"b"], [2], "neither true nor false"),
        ([b"a", b"b"], ["yes"], "neither true nor false"),
        ([b"a", b"b"], None, "no list of flags"),
        (b"ab", [True], "something else"),
    ],
)
def test_other_content(tmp_path: Path, photos: Any, same: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_bin(write_bin(tmp_path / "set.bin", photos, same))


# --- fuzz


def read_or_refuse(path: Path, data: bytes) -> None:
    """Anything but an InputError or pairs of photos, none larger than the file, is a crash."""
    path.write_bytes(data)
    try:
        found = read_bin(path)
    except InputError:
        return
    assert len(found.photos) == 2 * len(found.same) > 0
    assert found.same.dtype == bool
    assert all(isinstance(photo, bytes) and len(photo) < len(data) for photo in found.photos)


@given(st.binary(max_size=200))
@fuzz
def test_random_bytes_never_crash(tmp_path: Path, data: bytes) -> None:
    read_or_refuse(tmp_path / "set.bin", data)


SMALL = [
    python2_bin(CONTENTS[:2], [True]),
    pickle.dumps(([np.frombuffer(c, np.uint8).copy() for c in CONTENTS[:2]], [True]), protocol=2),
    pickle.dumps(([np.frombuffer(c, np.uint8) for c in CONTENTS[:2]], np.array([True])), protocol=5),
]


@pytest.mark.parametrize("whole", SMALL)
def test_cut_anywhere(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "set.bin"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_bin(path)
    path.write_bytes(whole)
    assert read_bin(path).same.tolist() == [True]


@given(data=st.data())
@fuzz
def test_flipped_bits_never_crash(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from(SMALL)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    read_or_refuse(tmp_path / "set.bin", bytes(whole))


OPCODES = st.sampled_from([opcode.code.encode("latin1") for opcode in pickletools.opcodes])
NAMES = st.sampled_from([b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n"])


@given(st.lists(st.one_of(OPCODES, OPCODES, NAMES, st.binary(max_size=6)), max_size=40).map(b"".join))
@fuzz
def test_random_opcodes_never_crash(tmp_path: Path, body: bytes) -> None:
    read_or_refuse(tmp_path / "set.bin", b"\x80\x04" + body + b".")


# --- as a protocol


def test_ten_folds_in_order(tmp_path: Path) -> None:
    same = [i % 2 == 0 for i in range(23)]
    protocol = protocol_alone(write_bin(tmp_path / "mine.bin", [b"x"] * 46, same))
    assert (protocol.name, len(protocol), protocol.partial) == ("mine.bin", 23, None)
    assert np.bincount(protocol.fold).tolist() == [3, 3, 3, 2, 2, 2, 2, 2, 2, 2]
    assert protocol.fold.tolist() == sorted(protocol.fold)
    assert protocol.same.tolist() == same
    assert (protocol.left[0], protocol.right[22]) == ("mine/pair0001-left", "mine/pair0023-right")


@pytest.mark.parametrize(("name", "pairs"), [("agedb_30", 6000), ("cfp_fp", 7000), ("cplfw", 6000)])
def test_a_known_set_must_be_whole(tmp_path: Path, name: str, pairs: int) -> None:
    same = [i % 2 == 0 for i in range(pairs)]
    whole = protocol_alone(write_bin(tmp_path / f"{name}.bin", [b"x"] * 2 * pairs, same))
    assert (len(whole), whole.partial, len(whole.scored_folds)) == (pairs, None, 10)
    part = write_bin(tmp_path / f"{name}.bin", [b"x"] * 200, same[:100])
    with pytest.raises(InputError, match=f"has {pairs:,} pairs in 10 folds; got 100 pairs"):
        protocol_alone(part)
    assert protocol_alone(part, allow_partial=True).partial == f"100 of {pairs:,} pairs, 10 of 10 folds"


def test_lfws_bin_is_known_by_where_its_photos_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [bytes([number % 7]) for number in range(40)]
    flags = [i % 2 == 0 for i in range(20)]
    monkeypatch.setitem(BENCHMARKS, "LFW", ProtocolSize(pairs=20, folds=10))
    monkeypatch.setattr(own_lists, "_OWN_BINS", {repeats_fingerprint(photos, np.array(flags)): "lfw-view2"})

    def named(name: str, photos: list[bytes], flags: list[bool] = flags) -> tuple[str, str, str]:
        (tmp_path / name).mkdir(exist_ok=True)
        path = write_bin(tmp_path / name / f"{name}.bin", photos, flags)
        [listed] = find_lists(path.parent, [tmp_path / name], allow_partial=False)
        assert listed.protocol is not None, listed.reason
        return listed.title, listed.called, listed.protocol.name

    aligned_otherwise = [photo + b" cut" for photo in photos]
    assert named("lfw", aligned_otherwise) == ("LFW", "lfw", "lfw-view2")
    assert named("mine", photos) == ("LFW", "mine", "lfw-view2")
    assert named("LFW", [*photos[:-1], b"another"]) == ("LFW.bin", "lfw", "LFW.bin")
    assert named("lfw", photos, [*flags[:-2], False, True]) == ("lfw.bin", "lfw", "lfw.bin")
    assert "called after LFW, with other pairs" in protocol_alone(tmp_path / "LFW/LFW.bin").reading


@pytest.mark.real_data
def test_lfws_own_pairs_as_a_bin(shared: Path, tmp_path: Path) -> None:
    own = protocol_alone(shared / "data/lfw/pairs.txt")
    photos = [name.encode() for pair in zip(own.left, own.right, strict=True) for name in pair]
    assert protocol_alone(write_bin(tmp_path / "some.bin", photos, own.same.tolist())).name == own.name


@pytest.mark.real_data
def test_insightfaces_own_sample(shared: Path) -> None:
    path = shared / "data/insightface/small_lfw.bin"
    read = read_bin(path)
    assert len(read.photos) == 20
    assert read.same.tolist() == [True] * 10
    assert decode_photo(read.photos[0]).shape == (112, 112, 3)
    expected, _ = pickle.loads(path.read_bytes())
    assert read.photos == [photo.tobytes() for photo in expected]
    with pytest.raises(InputError, match="0 impostor"):
        protocol_alone(path, allow_partial=True)


def test_pictures_inside_are_decodable(tmp_path: Path) -> None:
    photos = list_photos(write_bin(tmp_path / "set.bin", [picture(0), picture(1)], [True])).photos
    assert decode_photo(photos[1].read()).shape == (24, 24, 3)
