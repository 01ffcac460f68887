"""IJB-B and IJB-C: loose crops of faces, and a list with five landmarks and a detector score for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.errors import InputError
from data_prep.file_hash import file_hash
from data_prep.ijb import GivenLandmarks, IjbFiles, find_ijb_files, read_landmarks
from data_prep.progress import say
from data_prep.sources.base import (
    FilePhoto,
    GivenFace,
    Listing,
    PhotoColumns,
    Skipped,
    SourceFormat,
    name_below,
    picture_files,
)


@dataclass(frozen=True, kw_only=True)
class GivenPhotos(PhotoColumns[FilePhoto]):
    """Photos whose landmarks are given, so that no detector looks for a face.

    Attributes:
        folder: that the keys lie in.
        points: (photos, 10) x and y of the five landmarks; of a refused photo any.
        scores: (photos,) of the detector; of a refused photo any.
        given_by: the list of landmarks with its hash, for a data set's header.
    """

    folder: Path
    points: NDArray[np.float64] = field(compare=False)
    scores: NDArray[np.float64] = field(compare=False)
    given_by: str

    def _photo(self, place: int) -> FilePhoto:
        known = self._known(place)
        given = None
        if known["refused"] is None:
            given = GivenFace(tuple(self.points[place].tolist()), float(self.scores[place]))
        return FilePhoto(path=self.folder / known["key"], given=given, **known)


def list_photos(source: Path) -> Listing[FilePhoto]:
    """Every picture below `loose_crop`, whose key is the name in the lists; IJB says no identities.

    A picture without landmarks in the list is refused.

    Args:
        source: the folder with `loose_crop` and `meta`, or `meta`, or one of its lists.

    Raises:
        InputError: the list of landmarks is missing or broken, or names no picture that is there.
    """
    files = _files_of(source)
    assert files is not None  # or it would not have been recognised
    given, skipped = read_landmarks(files.landmarks), Skipped()
    pictures = picture_files(files.pictures, skipped, inside=True)
    keys = sorted(name_below(path, files.pictures) for path in pictures)
    places = _places(keys, given)
    known = places >= 0
    if not known.any():
        raise InputError(
            str(files.pictures),
            f"must hold pictures that {files.landmarks.name} names",
            got=counted(len(keys), "other") if keys else "none",
            fix="Put the loose crops of this benchmark there.",
        )
    if known.sum() < len(given):
        say(
            f"{files.pictures} holds {known.sum():,} of the {len(given):,} pictures that "
            f"{files.landmarks.name} names"
        )
    return Listing(_photos(files, keys, places, given), skipped)


def _photos(
    files: IjbFiles, keys: Sequence[str], places: NDArray[np.int64], given: GivenLandmarks
) -> GivenPhotos:
    refused = [None if place >= 0 else "no_landmarks" for place in places.tolist()]
    digest = file_hash(files.landmarks)
    return GivenPhotos(
        keys=pa.array(keys, pa.string()),
        identities=pa.nulls(len(keys), pa.string()),
        refused=pa.array(refused, pa.string()),
        folder=files.pictures,
        points=given.points.reshape(-1, 10)[places],
        scores=given.scores[places],
        given_by=f"landmarks of {files.landmarks.name} {digest}",
    )


def _places(keys: Sequence[str], given: GivenLandmarks) -> NDArray[np.int64]:
    """(keys,) the row of each in the list; -1 where it has none."""
    row = {name: place for place, name in enumerate(given.names.to_pylist())}
    return np.array([row.get(key, -1) for key in keys], dtype=np.int64)


def _files_of(source: Path) -> IjbFiles | None:
    files = find_ijb_files(source)
    return files if files is not None and files.pictures.is_dir() else None


FORMAT = SourceFormat(
    "IJB-B or IJB-C with loose_crop and meta", lambda source: _files_of(source) is not None, list_photos
)
