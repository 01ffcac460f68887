"""The photos that a protocol names, found in a data set's manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError
from data_prep.manifest import AlignedDataset

_NAMED = 3  # how many of the missing photos the message lists


def find_rows(keys: Sequence[str], dataset: AlignedDataset) -> NDArray[np.int64]:
    """The manifest row of each key, a `photo` with or without its file ending.

    Args:
        keys: photo keys, in any number and order.
        dataset: rows of any status count: a photo that failed is there, without a crop.

    Returns:
        (keys,) row indices.

    Raises:
        InputError: photos are missing, or a key without ending fits several.
    """
    photos = [str(photo) for photo in dataset.column("photo")]
    rows = {photo: row for row, photo in enumerate(photos)}
    stems: defaultdict[str, list[int]] = defaultdict(list)
    for row, photo in enumerate(photos):
        stems[_stem(photo)].append(row)
    wanted = dict.fromkeys(keys)
    for key in wanted:
        wanted[key] = rows.get(key, _only(key, stems, photos))
    _refuse_missing([key for key, row in wanted.items() if row is None], len(wanted), photos)
    return np.array([wanted[key] for key in keys], dtype=np.int64)


def _stem(photo: str) -> str:
    folder, slash, name = photo.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


def _only(key: str, stems: dict[str, list[int]], photos: Sequence[str]) -> int | None:
    found = stems.get(key, [])
    if len(found) > 1:
        raise InputError(
            "protocol",
            "must name each photo unmistakably",
            got=f"{key}, which fits {', '.join(photos[row] for row in found[:_NAMED])}",
            fix="Write the photo with its file ending.",
        )
    return found[0] if found else None


def _refuse_missing(missing: Sequence[str], wanted: int, photos: Sequence[str]) -> None:
    if missing:
        example = f"; the manifest has photos like {photos[0]}" if photos else "; the manifest is empty"
        raise InputError(
            "protocol",
            "every photo that it names must be in the data set",
            got=f"{len(missing):,} of {wanted:,} missing: {', '.join(missing[:_NAMED])}"
            + (", ..." if len(missing) > _NAMED else "")
            + example,
            fix="Align the folder that holds them, and give that one as --data.",
        )
