"""Where the files of an IJB release lie, found from its folder, its folder `meta`, or one of its lists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import InputError
from data_prep.walk import left_by_the_system

_PHOTOS, _PAIRS, _LANDMARKS = "_face_tid_mid.txt", "_template_pair_label.txt", "_name_5pts_score.txt"
_META, _PICTURES = "meta", "loose_crop"
_NAMES = {"ijbb": "IJB-B", "ijbc": "IJB-C"}


@dataclass(frozen=True)
class IjbFiles:
    """The lists of one benchmark.

    Attributes:
        folder: where they lie, such as `IJBC/meta`.
        prefix: how their names begin, such as `ijbc`.
    """

    folder: Path
    prefix: str

    @property
    def name(self) -> str:
        """IJB-B or IJB-C; the prefix of other lists in this form."""
        return _NAMES.get(self.prefix.lower(), self.prefix)

    @property
    def photos(self) -> Path:
        """The list of photos with their IJB template and medium."""
        return self.folder / f"{self.prefix}{_PHOTOS}"

    @property
    def pairs(self) -> Path:
        """The list of pairs of IJB templates."""
        return self.folder / f"{self.prefix}{_PAIRS}"

    @property
    def landmarks(self) -> Path:
        """The list of landmarks and detector scores."""
        return self.folder / f"{self.prefix}{_LANDMARKS}"

    @property
    def pictures(self) -> Path:
        """The folder of the loose crops, beside the lists or beside their folder `meta`."""
        inside = self.folder / _PICTURES
        return inside if inside.is_dir() else self.folder.parent / _PICTURES


def find_ijb_files(path: Path) -> IjbFiles | None:
    """The lists that lie in a folder, in `meta` within it, or beside a list; None where there are none.

    Args:
        path: a folder, or one of the lists, which then says whose.

    Raises:
        InputError: the folder holds lists of several benchmarks.
    """
    if path.is_file():
        prefix = _prefix(path)
        return None if prefix is None else IjbFiles(path.parent, prefix)
    for folder in filter(Path.is_dir, (path, path / _META)):
        found = {prefix for each in folder.iterdir() if (prefix := _prefix(each)) is not None}
        if len(found) > 1:
            one = next(IjbFiles(folder, prefix) for prefix in sorted(found))
            raise InputError(
                str(folder),
                "must hold the lists of one benchmark",
                got=" and ".join(sorted(found)),
                fix=f"Name one of its files instead of the folder, such as {one.pairs}.",
            )
        if found:
            return IjbFiles(folder, found.pop())
    return None


def _prefix(path: Path) -> str | None:
    if left_by_the_system(path.name):  # `._ijbc_face_tid_mid.txt` of a Mac
        return None
    endings = (ending for ending in (_PHOTOS, _PAIRS, _LANDMARKS) if path.name.lower().endswith(ending))
    return next((path.name[: -len(ending)] for ending in endings), None)
