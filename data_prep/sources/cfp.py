"""Celebrities in Frontal-Profile: `Data/Images/001/frontal/01.jpg`, also with train/ and test/ between."""

from __future__ import annotations

import re
from pathlib import Path

from data_prep.sources.base import FilePhoto, SourceFormat
from data_prep.sources.folder import walk_files_inside

_ROOTS = ("", "Data/Images", "Images")
_SPLITS = ("", "train", "test")
_PHOTO = re.compile(r"(?:^|/)(\d{3})/(frontal|profile)/(\d{2}\.\w+)$")


def list_photos(source: Path) -> list[FilePhoto]:
    """Every photo; its key is as the pair lists have it, `001/frontal/01.jpg`.

    Args:
        source: CFP's own folder, `Data/Images` in it, or anything between.

    Raises:
        InputError: a link leaves the folder, or a folder cannot be read.
    """
    photos = []
    for path in walk_files_inside(source):
        match = _PHOTO.search(path.relative_to(source).as_posix())
        if match:
            photos.append(FilePhoto(key="/".join(match.groups()), identity=match.group(1), path=path))
    return sorted(photos, key=lambda photo: photo.key)


def _recognises(source: Path) -> bool:
    places = (source / root / split for root in _ROOTS for split in _SPLITS)
    return any(
        (person / "frontal").is_dir() and (person / "profile").is_dir()
        for place in places
        if place.is_dir()
        for person in place.glob("[0-9][0-9][0-9]")
    )


FORMAT = SourceFormat("CFP", _recognises, list_photos)
