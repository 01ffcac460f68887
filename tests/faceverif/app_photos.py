"""Photos for the tests of `faceverif app`: drawn people, and files that are none."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.face_model import load_face_model
from data_prep.synthetic import synthesise_photos


@dataclass(frozen=True)
class Photos:
    """Files to upload.

    Attributes:
        people: a folder with two photos each of three people.
        first, second: of two people whom the model of the package tells apart.
        same: another photo of the first.
        both: the first and the second side by side.
        empty: a photo without a face.
        huge: a header that claims 60 megapixels.
        text: a text that is called .jpg.
    """

    people: Path
    first: Path
    second: Path
    same: Path
    both: Path
    empty: Path
    huge: Path
    text: Path


def write_photos(folder: Path) -> Photos:
    """All of them, in a new folder."""
    people = folder / "people"
    synthesise_photos(load_face_model(), people, identities=3, photos=2, seed=SEED)
    first, second, same = (
        people / name for name in ("person-0001/01.jpg", "person-0003/01.jpg", "person-0001/02.jpg")
    )
    side_by_side = [np.asarray(Image.open(path).resize((160, 160))) for path in (first, second)]
    Image.fromarray(np.hstack(side_by_side)).save(folder / "both.png")
    Image.new("RGB", (200, 160), (90, 120, 150)).save(folder / "empty.png")
    (folder / "huge.png").write_bytes(_png_header(10_000, 6_000))
    (folder / "notes.jpg").write_text("no photo")
    others = (folder / name for name in ("both.png", "empty.png", "huge.png", "notes.jpg"))
    return Photos(people, first, second, same, *others)


SEED = 7  # the model of the package tells its first person from the third


def _png_header(width: int, height: int) -> bytes:
    """A PNG whose header states a size, without the pixels for it."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(3 * width + 1))),
        (b"IEND", b""),
    ):
        parts.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(parts)
