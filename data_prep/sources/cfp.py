"""Celebrities in Frontal-Profile: `Data/Images/001/frontal/01.jpg`, also with train/ and test/ between."""

from __future__ import annotations

import re
from pathlib import Path

from data_prep.sources.base import (
    FilePhoto,
    Listing,
    Skipped,
    SourceFormat,
    listing,
    name_below,
    picture_files,
)

_ROOTS = ("", "Data/Images", "Images")
_SPLITS = ("", "train", "test")
_PHOTO = re.compile(r"(?:^|/)(\d{3})/(frontal|profile)/(\d{2}\.\w+)$")


def list_photos(source: Path) -> Listing[FilePhoto]:
    """Every photo; its key is as the pair lists have it, `001/frontal/01.jpg`.

    Pictures that lie elsewhere are skipped, as are the landmarks in `Data/Fiducials`.

    Args:
        source: CFP's own folder, `Data/Images` in it, or anything between.

    Raises:
        InputError: a link leaves the folder, a folder cannot be read, or a photo is there twice.
    """
    photos, skipped = [], Skipped()
    for path in picture_files(source, skipped, inside=True):
        name = name_below(path, source)
        match = _PHOTO.search(name)
        if match:
            photos.append(FilePhoto(key="/".join(match.groups()), identity=match.group(1), path=path))
        else:
            skipped.add(name, "outside_the_layout")
    return listing(source, photos, skipped)


def _recognises(source: Path) -> bool:
    places = (source / root / split for root in _ROOTS for split in _SPLITS)
    return any(
        (person / "frontal").is_dir() and (person / "profile").is_dir()
        for place in places
        if place.is_dir()
        for person in place.glob("[0-9][0-9][0-9]")
    )


FORMAT = SourceFormat("CFP", _recognises, list_photos)
