"""The names of photos in a list: slashes of another system, folders of another machine, file endings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from data_prep.inside import refuse_name_outside
from data_prep.picture_formats import is_picture_name

_ABSOLUTE = re.compile(r"(?:[A-Za-z]:)?/")
_BACKSLASH = re.compile(r"\\(?!x[0-9a-f]{2})")  # one that is not part of `\xff`, a byte that is no UTF-8


def tidied(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names as keys of a data set have them, and a note on each thing that was changed.

    Backslashes separate folders, as on Windows. The folders that all absolute names share are left out: where
    the photos lay on the machine that wrote the list says nothing about them.

    Args:
        names: every name of the list.
    """
    notes = []
    if any("\\" in name for name in names):
        sign = _BACKSLASH if any("/" in name for name in names) else re.compile(r"\\")
        slashed = [sign.sub("/", name) for name in names]
        if slashed != list(names):
            notes.append("backslashes separate folders")
        names = slashed
    if names and all(_ABSOLUTE.match(name) for name in names):
        shared = common_folder(names)
        notes.append(f"without {shared}/, where all names begin")
        names = [name[len(shared) + 1 :] if shared else _ABSOLUTE.sub("", name, count=1) for name in names]
    return [_plain(name) for name in names], notes


def common_folder(names: Iterable[str]) -> str:
    """The folders that all names begin with, without a slash at the end; empty where there is none."""
    shared: list[str] | None = None
    for name in names:
        folders = name.split("/")[:-1]
        if shared is None:
            shared = folders
        elif folders[: len(shared)] != shared:
            pairs = zip(shared, folders, strict=False)
            shared = shared[: next((i for i, (one, other) in enumerate(pairs) if one != other), len(folders))]
    return "/".join(shared or [])


def without_picture_ending(name: str) -> str:
    """A name without `.jpg`, `.png` and the like; another ending may be part of a person's name."""
    return name[: name.rfind(".")] if is_picture_name(name) else name


def refuse_names_outside(
    left: Sequence[str], right: Sequence[str], lines: Sequence[int], *, file: str
) -> None:
    """Refuse a name that could lead out of its folder.

    Args:
        left, right: one name per pair.
        lines: of each pair in the file.
        file: for the message.

    Raises:
        InputError: one does.
    """
    for pair in zip(left, right, lines, strict=True):
        for name in pair[:2]:
            refuse_name_outside(name, field=f"{file}, line {pair[2]}")


def _plain(name: str) -> str:
    """Without `./` at its beginning and without doubled slashes within."""
    while name.startswith("./"):
        name = name[2:]
    return re.sub("(?<=.)/{2,}", "/", name)
