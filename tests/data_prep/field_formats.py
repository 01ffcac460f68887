"""Small files in the field's formats, written by the formats' own rules."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_prep.alignment import find_template
from data_prep.dataset.manifest import AlignedDataset, Status, header_for, write_manifest

MAGIC = struct.pack("<I", 0xCED7230A)


def picture(seed: int, *, side: int = 24, form: str = "JPEG") -> bytes:
    """An encoded picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=form)
    return file.getvalue()


def payload(content: bytes, *labels: float, number: int = 0) -> bytes:
    """IRHeader and content; several labels follow the header, one stands in it."""
    if len(labels) == 1:
        return struct.pack("<IfQQ", 0, labels[0], number, 0) + content
    return struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0.0, number, 0, *labels) + content


def part(data: bytes, kind: int = 0) -> bytes:
    """A record or a part of one."""
    return MAGIC + struct.pack("<I", kind << 29 | len(data)) + data + bytes(-len(data) % 4)


def record(data: bytes) -> bytes:
    """A record as dmlc writes it: cut where the magic number lies at a multiple of four."""
    places = [i for i in range(0, len(data) - 3, 4) if data[i : i + 4] == MAGIC]
    pieces = [data[a:b] for a, b in zip([0, *(p + 4 for p in places)], [*places, len(data)], strict=True)]
    kinds = [0] if len(pieces) == 1 else [1, *[2] * (len(pieces) - 2), 3]
    return b"".join(part(piece, kind) for piece, kind in zip(pieces, kinds, strict=True))


def write_rec(folder: Path, photos: list[tuple[int, bytes]], *, index: bool = True) -> Path:
    """`train.rec` of (identity, photo), with InsightFace's header records, and `train.idx`."""
    folder.mkdir(parents=True, exist_ok=True)
    identities = sorted({identity for identity, _ in photos})
    count = len(photos)
    records = [record(payload(b"", count + 1, count + 1 + len(identities)))]
    records += [record(payload(data, identity, number=i)) for i, (identity, data) in enumerate(photos, 1)]
    records += [record(payload(b"", 1, 2)) for _ in identities]
    offsets = np.cumsum([0, *map(len, records[:-1])])
    (folder / "train.rec").write_bytes(b"".join(records))
    if index:
        lines = (f"{number}\t{offset}\n" for number, offset in enumerate(offsets))
        (folder / "train.idx").write_text("".join(lines))
    return folder / "train.rec"


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    """A shard of these members, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_aligned(root: Path, photos: dict[str, bytes], *, faceless: Sequence[str] = ()) -> AlignedDataset:
    """An aligned folder of 112-pixel crops; the first folder of a key is the identity."""
    rows = []
    for key, content in sorted(photos.items()):
        crop = root / "crops" / key
        crop.parent.mkdir(parents=True, exist_ok=True)
        crop.write_bytes(content)
        status = Status.NO_FACE if key in faceless else Status.ALIGNED
        known = {"photo": key, "identity": key.partition("/")[0], "crop": f"crops/{key}", "status": status}
        landmarks = [float(number) for number in range(10)]
        rows.append(known | {"sha256": hashlib.sha256(content).hexdigest(), "landmarks": landmarks})
    write_manifest(root, header_for(find_template("arcface-112"), policy="test", min_face_px=20), rows)
    return AlignedDataset.load(root)


def write_bin(path: Path, photos: list[object], same: object, *, protocol: int = 4) -> Path:
    """An InsightFace `.bin` by this Python."""
    path.write_bytes(pickle.dumps((photos, same), protocol=protocol))
    return path


def python2_bin(photos: list[bytes], same: list[bool]) -> bytes:
    """What Python 2.7 writes for lists of str and bool, protocol 2."""

    def text(data: bytes) -> bytes:
        return (
            b"U" + bytes([len(data)]) + data
            if len(data) < 256
            else b"T" + struct.pack("<i", len(data)) + data
        )

    memo = (b"q" + bytes([i]) for i in range(256))
    items = b"".join(text(data) + next(memo) for data in photos)
    flags = b"".join(b"\x88" if flag else b"\x89" for flag in same)
    lists = b"]" + next(memo) + b"(" + items + b"e" + b"]" + next(memo) + b"(" + flags + b"e"
    return b"\x80\x02" + lists + b"\x86" + next(memo) + b"."


def spliced(whole: bytes) -> st.SearchStrategy[bytes]:
    """A file with up to four bytes at some place replaced by up to four others: often refused, not always."""
    others = st.one_of(st.binary(max_size=4), st.text("0123456789", max_size=4).map(str.encode))
    return st.builds(
        lambda place, taken, put: whole[:place] + put + whole[place + taken :],
        st.integers(0, len(whole)),
        st.integers(0, 4),
        others,
    )


def accepted(read: Callable[[bytes], bool], contents: st.SearchStrategy[bytes], *, examples: int) -> int:
    """How many contents were accepted; a test that looks at what is accepted asserts that some were.

    Args:
        read: checks what it takes; False where it refuses.
        contents: of files.
        examples: how many.
    """
    taken = 0

    @settings(max_examples=examples, derandomize=True)
    @given(contents)
    def read_one(content: bytes) -> None:
        nonlocal taken
        taken += read(content)

    read_one()
    return taken
