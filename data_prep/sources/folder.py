"""A folder of photos per identity, as LFW and extracted CASIA-WebFace come; or photos without identities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_prep.errors import InputError
from data_prep.picture_formats import is_picture_file
from data_prep.sources import celeba
from data_prep.sources.base import (
    FilePhoto,
    Listing,
    Skipped,
    SourceFormat,
    listing,
    name_below,
    picture_files,
)
from data_prep.sources.other_forms import way_out
from data_prep.sources.people_folders import named_by_folders


def list_photos(source: Path) -> Listing[FilePhoto]:
    """Every picture below `source`, or the one that it is; links are followed.

    The first folder names the identity, however deep the photo lies; where everything lies in one folder, the
    first one in that. A photo that lies in none has no identity. The key is the path below the source, or
    below that one folder. Files that are no pictures are skipped and named.

    Raises:
        InputError: no such folder, one that cannot be read or holds no picture, or one with splits or groups
            above the people.
    """
    if source.is_file():
        return Listing(
            [FilePhoto(path=source, key=name_below(source, source.parent), identity=None)], Skipped()
        )
    if not source.is_dir():
        raise InputError(
            "SOURCE",
            "must be a folder with a folder of photos per identity",
            got=source,
            fix="Check the path.",
        )
    skipped = Skipped()
    paths = list(picture_files(source, skipped))
    if not paths:
        found = f"none in {source}" + (f" ({skipped.text()})" if len(skipped) else "")
        raise InputError("SOURCE", "must hold photos", got=found, fix=way_out(skipped.names()))
    photos = _named(source, paths)
    if all(photo.identity is None for photo in photos):
        _refuse_part_of_celeba(source, paths[0])
    return listing(source, photos, skipped)


def _refuse_part_of_celeba(source: Path, photo: Path) -> None:
    above = celeba.identity_file_above(source) if photo.stem.isdecimal() else None
    if above is not None:
        raise InputError(
            "SOURCE",
            "must hold CelebA's identity file beside its photos",
            got=source,
            fix=f"Give the folder above: {above}",
        )


def _named(source: Path, paths: Sequence[Path]) -> list[FilePhoto]:
    names = [name_below(path, source) for path in paths]
    identities, shared = named_by_folders(names, source)
    return [
        FilePhoto(path=path, key=name.removeprefix(shared), identity=identity)
        for path, name, identity in zip(paths, names, identities, strict=True)
    ]


def _recognises(source: Path) -> bool:
    # `list_photos` says what a missing one should be.
    return source.is_dir() or not source.exists() or (source.is_file() and is_picture_file(source))


FORMAT = SourceFormat("a folder of photos per identity", _recognises, list_photos)
