"""CelebA: photos in any folders, and `identity_CelebA.txt`, which says whom each file shows."""

from __future__ import annotations

from pathlib import Path

from data_prep.errors import InputError
from data_prep.inside import refuse_name_outside
from data_prep.progress import say
from data_prep.sources.base import (
    FilePhoto,
    Listing,
    Skipped,
    SourceFormat,
    listing,
    name_below,
    picture_files,
)

_IDENTITIES = "identity_CelebA.txt"
_PLACES = (_IDENTITIES, f"Anno/{_IDENTITIES}")
_LARGEST_FILE = 2**26  # CelebA's own has 4 MB


def list_photos(source: Path) -> Listing[FilePhoto]:
    """Every picture below `source`; its key is `identity/name`, as `02880/000001.jpg`.

    The identity file says `.jpg`, also beside CelebA's own PNG release: the ending does not count. A picture
    that the identity file does not name has no identity, and is refused.

    Args:
        source: the folder with the identity file, or with `Anno/` and the photos' folder.

    Raises:
        InputError: the identity file is broken, a name comes twice, or a name or link leaves the folder.
    """
    path = _identity_file(source)
    identities = _read_identities(path)
    skipped = Skipped()
    photos = [_photo(picture, source, identities) for picture in picture_files(source, skipped, inside=True)]
    _refuse_versions(photos)
    named = sum(photo.identity is not None for photo in photos)
    if not named:
        raise InputError(
            "SOURCE", f"must hold photos that {path.name} names", got="none", fix="Put them beside it."
        )
    if named < len(identities):
        say(f"{source} holds {named:,} of the {len(identities):,} photos that {path.name} names")
    return listing(source, photos, skipped)


def missing_photos(source: Path) -> list[str]:
    """The names of the identity file that no picture below `source` has, sorted, without their endings."""
    there = {path.stem for path in picture_files(source, Skipped())}
    return sorted(set(_read_identities(_identity_file(source))) - there)


def identity_file_above(folder: Path) -> Path | None:
    """The folder, of the three above a folder of photos, that holds an identity file; None without one."""
    return next((above for above in folder.resolve().parents[:3] if _recognises(above)), None)


def _identity_file(source: Path) -> Path:
    return next(source / place for place in _PLACES if (source / place).is_file())


def _photo(path: Path, source: Path, identities: dict[str, str]) -> FilePhoto:
    identity = identities.get(path.stem)
    if identity is None:
        return FilePhoto(key=name_below(path, source), identity=None, refused="no_identity", path=path)
    return FilePhoto(key=f"{identity}/{path.name}", identity=identity, path=path)


def _refuse_versions(photos: list[FilePhoto]) -> None:
    """In the wild, aligned, or aligned as PNG: each release has the same names."""
    first: dict[str, FilePhoto] = {}
    for photo in photos:
        if photo.identity is not None and first.setdefault(photo.path.stem, photo) is not photo:
            raise _twice(photo, first[photo.path.stem])


def _read_identities(path: Path) -> dict[str, str]:
    """A photo's name without its ending -> its identity, five digits."""
    if path.stat().st_size > _LARGEST_FILE:
        raise _broken(path, 1, f"{path.stat().st_size:,} bytes")
    identities: dict[str, str] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        fields = line.decode("utf-8", "replace").split()
        if not fields:
            continue
        if len(fields) != 2 or not fields[1].isdecimal() or len(fields[1]) > 9:
            raise _broken(path, number, repr(line[:80]))
        stem = Path(refuse_name_outside(fields[0], field=f"{path}, line {number}")).stem
        if stem in identities:
            raise _broken(path, number, repr(line[:80]))
        identities[stem] = f"{int(fields[1]):05d}"
    return identities


def _broken(path: Path, number: int, got: str) -> InputError:
    return InputError(
        f"{path}, line {number}",
        "must be a file name and the number of its identity, each name once",
        got=got,
        fix="Fetch the file again.",
    )


def _twice(photo: FilePhoto, other: FilePhoto) -> InputError:
    return InputError(
        "SOURCE",
        "must hold each photo once",
        got=f"{photo.path} and {other.path}",
        fix="Give a folder with one version of the photos, in the wild or aligned, and the identity file.",
    )


def _recognises(source: Path) -> bool:
    return any((source / place).is_file() for place in _PLACES)


FORMAT = SourceFormat(f"CelebA with {_IDENTITIES}", _recognises, list_photos)
