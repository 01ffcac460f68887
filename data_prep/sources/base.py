"""What a source of photos is: keys, identities, bytes on demand, and what was passed over."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, overload

import pyarrow as pa

from data_prep.errors import InputError
from data_prep.photos import read_bytes
from data_prep.picture_formats import is_picture_file
from data_prep.walk import walk_files

_NAMED = 3


class GivenFace(NamedTuple):
    """Where a face lies, by a list that comes with the photos.

    Attributes:
        landmarks: (10,) x and y in pixels of left eye, right eye, nose, left and right mouth corner.
        score: of the detector that the list is from, in [0, 1].
    """

    landmarks: tuple[float, ...]
    score: float


@dataclass(frozen=True, kw_only=True)
class SourcePhoto(ABC):
    """A photo of a source; worker processes get it and read its bytes.

    Attributes:
        key: its name in the source, with forward slashes; unique and the same in every run.
        identity: who it shows; None where the source does not say.
        refused: why it cannot be used, where that is known already: a word as of `PhotoError`.
        given: its face, where the source says so.
    """

    key: str
    identity: str | None
    refused: str | None = None
    given: GivenFace | None = None

    @abstractmethod
    def read(self) -> bytes:
        """The encoded photo.

        Raises:
            PhotoError: it cannot be read.
        """


@dataclass(frozen=True, kw_only=True)
class FilePhoto(SourcePhoto):
    """A photo that is a file.

    Attributes:
        path: where it lies.
    """

    path: Path

    def read(self) -> bytes:
        """The file's content."""
        return read_bytes(self.path)


class Skipped:
    """What a reader passed over, by reason: `no_picture`, `system_file`, `linked_twice` and others."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, name: str, reason: str) -> None:
        """Note a file, folder or member."""
        self._names.setdefault(reason, []).append(name)

    def __len__(self) -> int:
        return sum(map(len, self._names.values()))

    def names(self) -> Iterator[str]:
        """Of all of them."""
        return chain.from_iterable(self._names.values())

    def text(self) -> str:
        """How many, why, and some names; empty where nothing was skipped."""
        reasons = (f"{reason} {len(names):,} ({some(names)})" for reason, names in self._names.items())
        return f"skipped {len(self):,}: {', '.join(reasons)}" if self._names else ""


def some(names: Sequence[str]) -> str:
    """The first few names, for a message."""
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


P = TypeVar("P", bound=SourcePhoto)
P_co = TypeVar("P_co", bound=SourcePhoto, covariant=True)


@dataclass(frozen=True, kw_only=True)
class PhotoColumns(Sequence[P_co]):
    """Photos as columns: millions of objects would take gigabytes, so one is made when it is asked for.

    Attributes:
        keys: (photos,) sorted.
        identities: (photos,) `REPEATED`, null where nobody is named.
        refused: (photos,) `REPEATED`, why a photo cannot be used; null where it can.
    """

    keys: pa.Array
    identities: pa.Array
    refused: pa.Array

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, place: int) -> P_co: ...

    @overload
    def __getitem__(self, place: slice) -> list[P_co]: ...

    def __getitem__(self, place: int | slice) -> P_co | list[P_co]:
        if isinstance(place, slice):
            return [self._photo(each) for each in range(*place.indices(len(self)))]
        return self._photo(range(len(self))[place])  # which knows negative places, and where the end is

    @abstractmethod
    def _photo(self, place: int) -> P_co:
        """One of the photos."""

    def _known(self, place: int) -> dict[str, Any]:
        """What every kind of photo has."""
        columns = {"key": self.keys, "identity": self.identities, "refused": self.refused}
        return {name: column[place].as_py() for name, column in columns.items()}


class Listing(NamedTuple, Generic[P_co]):
    """The content of a source.

    Attributes:
        photos: sorted by key.
        skipped: what else lies there.
    """

    photos: Sequence[P_co]
    skipped: Skipped


def listing(source: Path, photos: Iterable[P], skipped: Skipped) -> Listing[P]:
    """The content of a source, in order.

    Raises:
        InputError: two photos have one key, so that one would take the other's place.
    """
    ordered = sorted(photos, key=lambda photo: photo.key)
    for one, other in pairwise(ordered):
        if one.key == other.key:
            places = [str(photo.path) if isinstance(photo, FilePhoto) else "" for photo in (one, other)]
            raise InputError(
                str(source),
                "must hold each photo once",
                got=f"{one.key} twice" + (f": {places[0]} and {places[1]}" if all(places) else ""),
                fix="Keep one of them there.",
            )
    return Listing(ordered, skipped)


def picture_files(source: Path, skipped: Skipped, *, inside: bool = False) -> Iterator[Path]:
    """Every file below `source` that is meant as a picture; what else lies there is noted in `skipped`.

    Args:
        source: a folder.
        skipped: takes the names of the others.
        inside: refuse links that lead out of the folder.

    Raises:
        InputError: a folder cannot be read, or a link leaves.
    """

    def skip(path: Path, reason: str) -> None:
        skipped.add(name_below(path, source), reason)

    for path in walk_files(source, inside=inside, skip=skip):
        if is_picture_file(path):
            yield path
        else:
            skip(path, "no_picture")


def name_below(path: Path, folder: Path) -> str:
    r"""The path below a folder with forward slashes; bytes that are no UTF-8 are written `\xff`."""
    return os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace")


class SourceFormat(NamedTuple):
    """A kind of source.

    Attributes:
        description: for the message that lists what is known.
        recognises: whether this is one, by what lies there.
        list_photos: every photo of it.
    """

    description: str
    recognises: Callable[[Path], bool]
    list_photos: Callable[[Path], Listing[SourcePhoto]]
