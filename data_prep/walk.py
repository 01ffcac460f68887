"""Every file below a folder, once: the one walk through folders that others made."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from data_prep.errors import InputError
from data_prep.inside import refuse_link_outside
from data_prep.own_names import is_own

Skip = Callable[[Path, str], None]
_Kind = Literal["file", "folder", "link to a folder"]

# What file managers, cameras, network disks and archivers leave beside photos.
_SYSTEM_NAMES = {
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
    "__macosx",
    "@eadir",
    "$recycle.bin",
    "system volume information",
    "lost+found",
}


def left_by_the_system(name: str) -> bool:
    """Whether a file or folder of that name is no part of a data set: `.hidden`, `Thumbs.db`, `__MACOSX`."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def _forget(_path: Path, _reason: str) -> None:
    """For callers that need no account of what is passed over."""


def walk(folder: Path, *, skip: Skip = _forget, field: str = "SOURCE") -> Iterator[tuple[Path, list[Path]]]:
    """Every folder from `folder` down, with its files, both sorted by name.

    Links are followed, but each real folder is visited once, under its own name if it lies below `folder`.
    So a link to a parent folder ends, and so do two links to each other.

    Args:
        folder: where to begin; nothing is found below what is no folder.
        skip: is told each path that is passed over, and why: `system_file`, `not_a_file` (a named pipe, a
            device, a socket: to open one may never return) or `linked_twice`.
        field: what the user named the folder with, for the message.

    Yields:
        (folder, its files): regular files, links to such, and links to nothing.

    Raises:
        InputError: a folder cannot be read.
    """
    waiting: list[Path] = [folder] if folder.is_dir() else []
    links: list[Path] = []
    above = (place for place in (folder, *folder.resolve().parents) if place.exists())
    seen = {_identity(place) for place in above}  # a link may lead up, too
    while waiting or links:
        if waiting:
            place = waiting.pop()
        else:
            place = links.pop(0)
            if not _is_new(place, seen):
                skip(place, "linked_twice")
                continue
        found = _entries(place, skip=skip, field=field)
        links += found["link to a folder"]
        yield place, found["file"]
        for path in reversed(found["folder"]):  # the last one is taken first
            if _is_new(path, seen):
                waiting.append(path)
            else:
                skip(path, "linked_twice")


def walk_files(folder: Path, *, inside: bool = False, skip: Skip = _forget) -> Iterator[Path]:
    """The files that `walk` finds.

    Args:
        folder: where to begin.
        inside: refuse links that lead out of the folder, for folders that came as one.
        skip: as for `walk`.

    Raises:
        InputError: a folder cannot be read, or a link leaves.
    """
    root = folder.resolve() if inside else None
    for place, files in walk(folder, skip=skip):
        if root is not None:  # folder by folder; to resolve each file would take minutes
            refuse_link_outside(place, root)
        for path in files:
            if root is not None and path.is_symlink():
                refuse_link_outside(path, root)
            yield path


def packs_in(folder: Path, ending: str) -> list[Path]:
    """The files right in a folder whose names end so, such as `.tar`, sorted; without those of the system."""
    found = (path for path in folder.glob(f"*{ending}") if not left_by_the_system(path.name))
    return sorted(filter(Path.is_file, found))


def _entries(place: Path, *, skip: Skip, field: str) -> dict[_Kind, list[Path]]:
    """What a folder holds, by kind and sorted by name; without our own files and what is skipped."""
    try:
        with os.scandir(place) as found:
            kinds = {entry.name: _kind(entry) for entry in found if not is_own(entry.name)}
    except OSError as error:
        raise InputError(
            field, "every folder in it must be readable", got=error, fix="Fix or remove that folder."
        ) from error
    by_kind: dict[_Kind, list[Path]] = {"file": [], "folder": [], "link to a folder": []}
    for name in sorted(kinds):
        kind = kinds[name]
        if left_by_the_system(name):
            skip(place / name, "system_file")
        elif kind is None:
            skip(place / name, "not_a_file")
        else:
            by_kind[kind].append(place / name)
    return by_kind


def _kind(entry: os.DirEntry[str]) -> _Kind | None:
    """What an entry is, None for what is no file; only links cost a question to the file system."""
    if not entry.is_symlink():
        is_folder = entry.is_dir(follow_symlinks=False)
        return "folder" if is_folder else "file" if entry.is_file(follow_symlinks=False) else None
    try:
        mode = os.stat(entry.path).st_mode
    except OSError:  # a link to nothing, or to itself: reading it gives the reason
        return "file"
    return "link to a folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else None


def _is_new(place: Path, seen: set[tuple[int, int]]) -> bool:
    identity = _identity(place)
    if identity in seen:
        return False
    seen.add(identity)
    return True


def _identity(place: Path) -> tuple[int, int]:
    status = place.stat()
    return status.st_dev, status.st_ino
