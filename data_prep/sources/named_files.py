"""Sets that come as one flat folder, where a file's name says whom it shows: AgeDB, CALFW and CPLFW.

AgeDB: `NUMBER_Name_age_gender.jpg`. CALFW and CPLFW: `Name_NUMBER.jpg` in `aligned images/`, beside
`pairs_CALFW.txt` or `pairs_CPLFW.txt`, and often once more, not aligned, in `images/`. Any camera names its
files like that too, so those two are known by their list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from data_prep.picture_formats import is_picture_name
from data_prep.sources.base import (
    FilePhoto,
    Listing,
    Skipped,
    SourceFormat,
    listing,
    name_below,
    picture_files,
)
from data_prep.walk import left_by_the_system

_AGEDB = re.compile(r"\d+_(.+)_\d{1,3}_[mf]")
_LFW_LIKE = re.compile(r"(.+)_\d{1,4}")
_PAIR_LIST = re.compile(r"pairs_c[ap]lfw\.txt", re.IGNORECASE)
_LARGEST_LIST = 2**24
_LOOKED_AT = 50
_MOST = 0.9  # the share of names that must be as the authors write them; strays have no identity
_ALIGNED = "aligned images"
_FOLDERS = {_ALIGNED, "images", "images&landmarks"}


def _list_agedb(source: Path) -> Listing[FilePhoto]:
    """Every picture of AgeDB; its key is the path below the source."""
    skipped = Skipped()
    paths = picture_files(source, skipped, inside=True)
    photos = (_photo(path, name_below(path, source), _AGEDB) for path in paths)
    return listing(source, photos, skipped)


def _list_lfw_like(source: Path) -> Listing[FilePhoto]:
    """Every picture of CALFW or CPLFW; its key is as the pair list has it, the file's name.

    Where the pictures lie there both aligned and not, the aligned ones are taken, as the lists mean them.
    """
    skipped = Skipped()
    paths = list(picture_files(source, skipped, inside=True))
    aligned = [path for path in paths if path.parent.name.lower() == _ALIGNED]
    for path in paths if aligned else ():
        if path.parent.name.lower() != _ALIGNED:
            skipped.add(name_below(path, source), "not_the_aligned_one")
    photos = (_photo(path, name_below(path, path.parent), _LFW_LIKE) for path in aligned or paths)
    return listing(source, photos, skipped)


def _photo(path: Path, key: str, pattern: re.Pattern[str]) -> FilePhoto:
    match = pattern.fullmatch(path.stem)
    return FilePhoto(path=path, key=key, identity=match[1] if match else None)


def _is_agedb(source: Path) -> bool:
    return source.is_dir() and _most(_picture_names(source), lambda name: _AGEDB.fullmatch(Path(name).stem))


def _is_lfw_like(source: Path) -> bool:
    """With its pair list inside and one of its folders, or a folder of pictures that a list above names."""
    if not source.is_dir():
        return False
    if _pair_list(source) and any(path.name.lower() in _FOLDERS for path in source.iterdir()):
        return True
    names = _picture_names(source)
    place = next((above for above in (source, *source.resolve().parents[:3]) if _pair_list(above)), None)
    if not names or place is None:
        return False
    listed = _names_in(_pair_list(place))
    return _most(names, lambda name: name in listed)


def _picture_names(source: Path) -> list[str]:
    """The names of some pictures directly in a folder."""
    names = (path.name for path in source.iterdir() if is_picture_name(path.name))
    return list(islice((name for name in names if not left_by_the_system(name)), _LOOKED_AT))


def _pair_list(folder: Path) -> Path | None:
    try:
        return next((path for path in folder.iterdir() if _PAIR_LIST.fullmatch(path.name)), None)
    except OSError:
        return None


def _names_in(path: Path | None) -> set[str]:
    if path is None or not path.is_file() or path.stat().st_size > _LARGEST_LIST:
        return set()
    return {line.split()[0] for line in path.read_text("utf-8", "replace").splitlines() if line.strip()}


def _most(names: Sequence[str], fits: Callable[[str], object]) -> bool:
    return bool(names) and sum(bool(fits(name)) for name in names) >= _MOST * len(names)


AGEDB = SourceFormat("AgeDB's flat folder", _is_agedb, _list_agedb)
LFW_LIKE = SourceFormat("CALFW or CPLFW beside its pair list", _is_lfw_like, _list_lfw_like)
