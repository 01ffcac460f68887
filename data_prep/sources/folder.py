"""A folder of photos per identity, as LFW, CelebA by identity and extracted CASIA-WebFace come."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import InputError

_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}
_SYSTEM_FOLDERS = {"__macosx"}


@dataclass(frozen=True)
class SourcePhoto:
    """A file of the source.

    Attributes:
        path: where it lies.
        key: its path below the source with forward slashes; bytes that are no UTF-8 are written `\\xff`.
        identity: the first folder of the key; null directly in the source, where nobody is named.
    """

    path: Path
    key: str
    identity: str | None


def list_photos(source: Path) -> list[SourcePhoto]:
    """Every file below `source`, sorted by key; links are followed.

    The first folder names the identity, however deep the photo lies. Any file counts, whatever its ending:
    what is no photo is for the reader to say. Only what file managers leave behind is passed over: names
    that begin with a dot, Thumbs.db, desktop.ini and __MACOSX.

    Raises:
        InputError: no such folder, one that cannot be read, or no file in any identity's folder.
    """
    if not source.is_dir():
        raise InputError(
            "SRC", "must be a folder with a folder of photos per identity", got=source, fix="Check the path."
        )
    photos = []
    for folder, folders, files in os.walk(source, followlinks=True, onerror=_refuse):
        folders[:] = [name for name in folders if not _left_by_the_system(name)]
        for name in files:
            if not _left_by_the_system(name):
                path = Path(folder, name)
                photos.append(_source_photo(path, path.relative_to(source)))
    if not any(photo.identity for photo in photos):
        raise InputError(
            "SRC",
            "must hold a folder of photos per identity",
            got=f"{len(photos)} files and no such folder in {source}",
            fix="Put each person's photos into a folder of their own.",
        )
    return sorted(photos, key=lambda photo: photo.key)


def _refuse(error: OSError) -> None:
    raise InputError(
        "SRC", "every folder in it must be readable", got=error, fix="Mend or remove that folder."
    )


def _left_by_the_system(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_FILES | _SYSTEM_FOLDERS


def _source_photo(path: Path, below: Path) -> SourcePhoto:
    key = os.fsencode(below.as_posix()).decode("utf-8", "backslashreplace")
    identity, slash, _ = key.partition("/")
    return SourcePhoto(path, key, identity if slash else None)
