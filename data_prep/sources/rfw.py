"""RFW's photos, in a folder per group: `test/data/African/m.0x/m.0x_0001.jpg`; so is BUPT-Balancedface."""

from __future__ import annotations

import re
from pathlib import Path

from data_prep.protocols.benchmarks import RFW_GROUPS
from data_prep.sources.base import (
    FilePhoto,
    Listing,
    Skipped,
    SourceFormat,
    listing,
    name_below,
    picture_files,
)

_ROOTS = ("", "data", "test/data")
_DEPTH = 3  # the group, the person, and the photo or further folders
_EVERYWHERE = re.compile(r"[mg]\.\w+")  # Freebase's name of a person, which is the same in every group


def list_photos(source: Path) -> Listing[FilePhoto]:
    """Every photo of the four groups; its key is GROUP/PERSON/PHOTO, since the lists name a group's photos.

    The identity is the person's, where its name is Freebase's; any other name is that of a person in the
    group, GROUP/PERSON. Pictures without the folder of a person are skipped.

    Args:
        source: the folder of the groups, or one above it.

    Raises:
        InputError: a link leaves the folder, a folder cannot be read, or a photo is there twice.
    """
    root, skipped = next(root for root in _roots(source) if _holds_groups(root)), Skipped()
    photos = []
    for path in picture_files(root, skipped, inside=True):
        key = name_below(path, root)
        group, *folders = key.split("/")
        if len(folders) < _DEPTH - 1 or group not in RFW_GROUPS:
            skipped.add(key, "outside_the_layout")
            continue
        person = folders[0]
        identity = person if _EVERYWHERE.fullmatch(person) else f"{group}/{person}"
        photos.append(FilePhoto(key=key, identity=identity, path=path))
    return listing(source, photos, skipped)


def _roots(source: Path) -> list[Path]:
    return [source / root for root in _ROOTS]


def _holds_groups(root: Path) -> bool:
    """Whether all groups are there, with folders of people in them."""
    groups = [root / group for group in RFW_GROUPS]
    return all(group.is_dir() and any(path.is_dir() for path in group.iterdir()) for group in groups)


FORMAT = SourceFormat(
    "RFW with the folders of its four groups",
    lambda source: any(map(_holds_groups, _roots(source))),
    list_photos,
)
