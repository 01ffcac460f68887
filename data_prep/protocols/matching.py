"""The photos that a protocol names, found in a data set's manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from data_prep.protocols.base import VerificationProtocol

_NAMED = 3  # how many of the missing photos the message lists


def find_rows(keys: Sequence[str], dataset: AlignedDataset) -> NDArray[np.int64]:
    """The manifest row of each key, a `photo` with or without its file ending.

    Args:
        keys: photo keys, in any number and order; the end of a longer `photo` is enough where it fits one.
        dataset: rows of any status count: a photo that failed is there, without a crop.

    Returns:
        (keys,) row indices.

    Raises:
        InputError: photos are missing, or a key fits several.
    """
    rows = _rows_of(keys, dataset)
    missing = [key for key in dict.fromkeys(keys) if rows[key] is None]
    _refuse_missing(missing, len(rows), [str(photo) for photo in dataset.column("photo")])
    return np.array([rows[key] for key in keys], dtype=np.int64)


def pairs_within(protocol: VerificationProtocol, dataset: AlignedDataset) -> VerificationProtocol:
    """The pairs of which the data set holds both photos; `partial` says so where some are missing.

    Raises:
        InputError: too few are left to choose a threshold, or a key fits several photos.
    """
    rows = _rows_of([*protocol.left, *protocol.right], dataset)
    pairs = zip(protocol.left, protocol.right, strict=True)
    there = np.array([rows[left] is not None and rows[right] is not None for left, right in pairs])
    return protocol if there.all() else protocol.part(there)


def names_any(protocol: VerificationProtocol, dataset: AlignedDataset) -> bool:
    """Whether the data set holds any photo of the protocol."""
    rows = _rows_of([*protocol.left, *protocol.right], dataset)
    return any(row is not None for row in rows.values())


def _rows_of(keys: Sequence[str], dataset: AlignedDataset) -> dict[str, int | None]:
    """Key -> row, by the whole name, else without its ending, else as the end of a longer name."""
    photos = [str(photo) for photo in dataset.column("photo")]
    rows = {photo: row for row, photo in enumerate(photos)}
    stems = _rows_by(_stem(photo) for photo in photos)
    wanted = {key: rows.get(key, _only(key, stems, photos)) for key in dict.fromkeys(keys)}
    tails: dict[int, dict[str, list[int]]] = {}
    for key in [key for key, row in wanted.items() if row is None]:
        parts = key.count("/") + 1
        if parts not in tails:
            ends = ["/".join(photo.split("/")[-parts:]) for photo in photos]
            tails[parts] = _rows_by(ends) | _rows_by(_stem(end) for end in ends)
        wanted[key] = _only(key, tails[parts], photos)
    return wanted


def _rows_by(names: Iterable[str]) -> dict[str, list[int]]:
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows[name].append(row)
    return dict(rows)


def _stem(photo: str) -> str:
    folder, slash, name = photo.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


def _only(key: str, named: dict[str, list[int]], photos: Sequence[str]) -> int | None:
    found = named.get(key, [])
    if len(found) > 1:
        raise InputError(
            "protocol",
            "must name each photo unmistakably",
            got=f"{key}, which fits {', '.join(photos[row] for row in found[:_NAMED])}",
            fix="Write the photo with its folders and its file ending.",
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
