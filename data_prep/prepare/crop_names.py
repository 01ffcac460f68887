"""File names of crops: the photo's name wherever every file system takes it, else a short one with a hash."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from data_prep.errors import InputError
from data_prep.own_names import LOCK_NAME

CROPS_FOLDER = "crops"
ENDINGS = ("jpg", "png")  # of the formats that crops have

_LONGEST_BYTES = 255  # of a file or folder name, on nearly every file system
_KEPT = 40  # characters of a refused name that stay readable
_NOT_PORTABLE = re.compile(
    r"""[<>:"|?*\\\x00-\x1f\x7f]  # not legal on Windows
    | [. ]$                      # cut off there; this includes `.` and `..`
    | ^$
    | ^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)  # devices there, with any ending
    | ~[0-9a-f]{16}(\.|$)        # what this module itself appends
    """,
    re.VERBOSE | re.IGNORECASE,
)


def crop_name(photo: str, *, ending: str) -> str:
    """Where the crop of a photo goes, below the data set's folder.

    Different photos get different crops: a folder or file name is kept as it is or carries its own hash.

    Args:
        photo: the photo's key, with forward slashes.
        ending: of the crop's format, one of `ENDINGS`.
    """
    *folders, file = photo.split("/")
    return "/".join([CROPS_FOLDER, *map(_folder, folders), _file(file, f".{ending}")])


def _folder(name: str) -> str:
    # A folder named like a crop could take its place: the crop of `a`, beside a folder `a.jpg`.
    taken = name.lower().endswith(tuple(f".{ending}" for ending in ENDINGS))
    return _with_hash(name) if taken or not _is_portable(name) else name


def _file(name: str, ending: str) -> str:
    return name + ending if _is_portable(name + ending) else _with_hash(name) + ending


def _is_portable(name: str) -> bool:
    return len(name.encode()) <= _LONGEST_BYTES and not _NOT_PORTABLE.search(name)


def _with_hash(name: str) -> str:
    readable = re.sub(r"[^\w-]+", "_", name)[:_KEPT]
    return f"{readable}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def merges_names(folder: Path) -> bool:
    """Whether a file system takes names for one that differ in upper and lower case, as those of macOS do."""
    return (folder / LOCK_NAME).exists() and (folder / LOCK_NAME.upper()).exists()


def refuse_merged(photos: Iterable[str]) -> None:
    """Refuse photos whose crops such a file system would take for one.

    Args:
        photos: their keys.

    Raises:
        InputError: two differ only in case or in the form of their accents.
    """
    seen: dict[str, str] = {}
    for photo in photos:
        other = seen.setdefault(unicodedata.normalize("NFC", photo).casefold(), photo)
        if other != photo:
            raise InputError(
                "OUT",
                "must lie on a file system that tells upper from lower case, for these photos",
                got=f"{other} and {photo}",
                fix="Rename one of them, or name an OUT on another disk.",
            )
