"""A folder of photos per identity, as LFW, CelebA by identity and extracted CASIA-WebFace come."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from data_prep.errors import InputError
from data_prep.inside import refuse_link_outside
from data_prep.sources.base import FilePhoto, SourceFormat

_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}
_SYSTEM_FOLDERS = {"__macosx"}


def list_photos(source: Path) -> list[FilePhoto]:
    r"""Every file below `source`, sorted by key; links are followed.

    The key is the path below the source with forward slashes; bytes that are no UTF-8 are written `\xff`.
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
    photos = [_source_photo(path, path.relative_to(source)) for path in walk_files(source)]
    if not any(photo.identity for photo in photos):
        raise InputError(
            "SRC",
            "must hold a folder of photos per identity",
            got=f"{len(photos)} files and no such folder in {source}",
            fix="Put each person's photos into a folder of their own.",
        )
    return sorted(photos, key=lambda photo: photo.key)


def walk_files(folder: Path) -> Iterator[Path]:
    """Every file below a folder but what file managers leave behind; links are followed.

    Raises:
        InputError: a folder in it cannot be read.
    """
    for place, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        folders[:] = [name for name in folders if not _left_by_the_system(name)]
        yield from (Path(place, name) for name in files if not _left_by_the_system(name))


def walk_files_inside(folder: Path) -> Iterator[Path]:
    """What `walk_files` gives, for folders that came as one: links may not lead out of them.

    Raises:
        InputError: a link leaves the folder, or a folder in it cannot be read.
    """
    inside, checked = folder.resolve(), None
    for path in walk_files(folder):
        if path.parent != checked:  # files come folder by folder; to resolve each would take minutes
            checked = path.parent
            refuse_link_outside(checked, inside)
        if path.is_symlink():
            refuse_link_outside(path, inside)
        yield path


def _refuse(error: OSError) -> None:
    raise InputError(
        "SRC", "every folder in it must be readable", got=error, fix="Mend or remove that folder."
    )


def _left_by_the_system(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_FILES | _SYSTEM_FOLDERS


def _source_photo(path: Path, below: Path) -> FilePhoto:
    key = os.fsencode(below.as_posix()).decode("utf-8", "backslashreplace")
    identity, slash, _ = key.partition("/")
    if not slash:  # directly in the source, where nobody is named
        return FilePhoto(path=path, key=key, identity=None, refused="no_identity_folder")
    return FilePhoto(path=path, key=key, identity=identity)


def _recognises(source: Path) -> bool:
    return source.is_dir() or not source.exists()  # `list_photos` says what a missing one should be


FORMAT = SourceFormat("a folder of photos per identity", _recognises, list_photos)
