"""InsightFace `.bin` verification sets: a pickle of encoded photos, two per pair, and a flag per pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.errors import InputError
from data_prep.photos import read_bytes
from data_prep.sources.base import Listing, Skipped, SourceFormat, SourcePhoto, listing
from data_prep.sources.plain_pickle import PlainArray, read_plain_pickle

# The largest set of the field, 14,000 crops, has 80 MB; the file is held in memory while it is read.
_LARGEST_FILE = 2**30
_OPENING = tuple(bytes((0x80, protocol)) for protocol in (2, 3, 4, 5))


class BinSet(NamedTuple):
    """The content of a `.bin`.

    Attributes:
        photos: encoded, two a pair: 0 and 1, 2 and 3, ...
        same: (pairs,) True for a genuine pair.
    """

    photos: list[bytes]
    same: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class BinPhoto(SourcePhoto):
    """A photo of a `.bin`, in memory.

    Attributes:
        content: as it was encoded.
    """

    content: bytes

    def read(self) -> bytes:
        """The content."""
        return self.content


def read_bin(path: Path) -> BinSet:
    """Read a `.bin`, by Python 2 or 3, without running anything in it.

    Raises:
        InputError: it is something else, is broken, is larger than 1 GiB, or would run code.
    """
    if path.stat().st_size > _LARGEST_FILE:
        raise _unfit(path, f"{path.stat().st_size:,} bytes, more than 1 GiB")
    content = read_plain_pickle(read_bytes(path), field=str(path))
    if (
        not isinstance(content, (tuple, list))
        or len(content) != 2
        or not isinstance(content[0], (tuple, list))
    ):
        raise _unfit(path, "something else")
    photos = [_photo(path, item) for item in content[0]]
    same = _flags(path, content[1])
    if not photos or len(photos) != 2 * len(same):
        raise _unfit(path, f"{counted(len(photos), 'photo')} and {counted(len(same), 'flag')}")
    return BinSet(photos, np.array(same, dtype=bool))


def pair_keys(path: Path, pair: int) -> tuple[str, str]:
    """The keys of a pair's photos, `lfw/pair0001-left` and `-right`; the file's name distinguishes the sets.

    Args:
        path: the `.bin`.
        pair: counted from 0; in keys, from 1.
    """
    return f"{path.stem}/pair{pair + 1:04d}-left", f"{path.stem}/pair{pair + 1:04d}-right"


def list_photos(source: Path) -> Listing[BinPhoto]:
    """Every photo of a `.bin`, in key order; it does not say whom they show.

    Raises:
        InputError: as for `read_bin`.
    """
    photos = read_bin(source).photos
    keys = (key for pair in range(len(photos) // 2) for key in pair_keys(source, pair))
    listed = (
        BinPhoto(key=key, identity=None, content=content) for key, content in zip(keys, photos, strict=True)
    )
    return listing(source, listed, Skipped())


def is_bin(path: Path) -> bool:
    """Whether a file opens as a pickle does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix == ".bin" or file.read(2) in _OPENING


def _photo(path: Path, item: object) -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, PlainArray) and item.kind in ("u1", "i1"):
        return item.data
    raise _unfit(path, "an item among the photos that is neither bytes nor an array of them")


def _flags(path: Path, flags: object) -> list[int]:
    if isinstance(flags, PlainArray):
        flags = flags.numbers()
    if not isinstance(flags, (list, tuple)):
        raise _unfit(path, "no list of flags")
    found = [flag for flag in flags if isinstance(flag, int) and flag in (0, 1)]
    if len(found) != len(flags):
        raise _unfit(path, "a flag that is neither true nor false")
    return found


def _unfit(path: Path, got: str) -> InputError:
    return InputError(
        str(path),
        "must be an InsightFace .bin: a list of encoded photos and, for each two, a flag: same or not",
        got=got,
        fix="Fetch it again.",
    )


FORMAT = SourceFormat("an InsightFace .bin", is_bin, list_photos)
