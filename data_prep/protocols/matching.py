"""The photos that a protocol names, found in a data set's manifest."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.errors import InputError
from data_prep.picture_formats import is_picture_name
from data_prep.protocols.base import VerificationProtocol
from data_prep.protocols.photo_names import common_folder, without_picture_ending
from data_prep.protocols.spelling import composed

_NAMED = 3  # how many of the missing photos the message lists
_OF_A_BIN = re.compile(r".*/pair\d{4,}-(left|right)")
_NO_PICTURES = ("not_an_image", "empty_file")  # reasons of failed rows


class PhotoNames:
    """The photos of a data set, found by the names that a list uses.

    A name is compared in this order: with whole keys; with keys without their file ending; with the ends of
    longer keys; with all of these in another picture format; and last without the folders that all names of
    the list share, such as `images/`. Accents may be encoded in two ways, unless a whole key is the name.

    Args:
        photos: (rows,) keys.
        no_picture: rows that are no photo, such as `1.5pt` and `1.txt` beside `1.jpg`. They never compete
            with a photo, and are found by their whole key alone unless they are called as a picture is.
    """

    def __init__(self, photos: Sequence[str], *, no_picture: Collection[int] = ()) -> None:
        self._photos = photos
        self._no_picture = no_picture
        self._pictures = [
            row for row, photo in enumerate(photos) if row not in no_picture or is_picture_name(photo)
        ]
        self._whole = {photo: row for row, photo in enumerate(photos)}
        self._stems = self._rows_by({_stem(photo)} for photo in self._picture_names())
        self._tails: dict[int, dict[str, list[int]]] = {}

    def rows_of(self, keys: Iterable[str]) -> dict[str, int | None]:
        """Key -> row; None where there is no such photo.

        Raises:
            InputError: a key fits several photos.
        """
        found = {key: self._row_of(key) for key in dict.fromkeys(keys)}
        shared = common_folder(found).split("/")
        for depth in range(1, len(shared) + 1 if shared != [""] else 1):
            for key in [key for key, row in found.items() if row is None]:
                below = key.split("/", depth)[depth]
                found[key] = self._first_of(below, without_picture_ending(below))
        return found

    def _row_of(self, key: str) -> int | None:
        row = self._by_whole_key(key)
        if row is None:
            row = self._only(key, self._with_parts(key.count("/") + 1))
        stem = without_picture_ending(key)
        return row if row is not None or stem == key else self._row_of(stem)

    def _first_of(self, *keys: str) -> int | None:
        rows = (self._by_whole_key(key) for key in keys)
        return next((row for row in rows if row is not None), None)

    def _by_whole_key(self, key: str) -> int | None:
        row = self._whole.get(key)
        return self._only(key, self._stems) if row is None else row

    def _with_parts(self, parts: int) -> dict[str, list[int]]:
        """The rows by the last parts of their keys, with and without their endings."""
        if parts not in self._tails:
            ends = ["/".join(name.split("/")[-parts:]) for name in self._picture_names()]
            self._tails[parts] = self._rows_by({end, _stem(end)} for end in ends)
        return self._tails[parts]

    def _picture_names(self) -> Iterable[str]:
        return (composed(self._photos[row]) for row in self._pictures)

    def _rows_by(self, names: Iterable[set[str]]) -> dict[str, list[int]]:
        """The rows of each name, given the names of each picture."""
        rows: defaultdict[str, list[int]] = defaultdict(list)
        for row, each in zip(self._pictures, names, strict=True):
            for name in each:
                rows[name].append(row)
        return dict(rows)

    def _only(self, key: str, named: dict[str, list[int]]) -> int | None:
        found = named.get(composed(key), [])
        if len(found) > 1:
            found = [row for row in found if row not in self._no_picture] or found
        if len(found) > 1:
            fitting = [self._photos[row] for row in found]
            raise InputError(
                "protocol",
                "must name each photo unambiguously",
                got=f"{key}, which fits {', '.join(fitting[:_NAMED])}",
                fix=_told_apart(fitting),
            )
        return found[0] if found else None


def find_rows(keys: Sequence[str], dataset: AlignedDataset, *, in_part: str = "") -> NDArray[np.int64]:
    """The manifest row of each key, as `PhotoNames` finds it.

    Args:
        keys: photo keys, in any number and order.
        dataset: rows of any status count: a photo that failed is there, without a crop.
        in_part: how to do without the missing photos, for the error; "": there is no way.

    Returns:
        (keys,) row indices.

    Raises:
        InputError: photos are missing, or a key fits several.
    """
    rows = names_of(dataset).rows_of(keys)
    missing = [key for key, row in rows.items() if row is None]
    _refuse_missing(missing, len(rows), [str(photo) for photo in dataset.column("photo")], in_part)
    return np.array([rows[key] for key in keys], dtype=np.int64)


def pairs_within(protocol: VerificationProtocol, dataset: AlignedDataset) -> VerificationProtocol:
    """The pairs of which the data set holds both photos; `partial` says so where some are missing.

    Raises:
        InputError: too few are left to choose a threshold, or a key fits several photos.
    """
    rows = names_of(dataset).rows_of([*protocol.left, *protocol.right])
    there = pairs_there(protocol, rows)
    return protocol if there.all() else protocol.part(there)


def pairs_there(protocol: VerificationProtocol, rows: dict[str, int | None]) -> NDArray[np.bool_]:
    """(pairs,) True where both photos have a row, by `PhotoNames.rows_of`."""
    pairs = zip(protocol.left, protocol.right, strict=True)
    return np.array([rows[left] is not None and rows[right] is not None for left, right in pairs])


def names_any(protocol: VerificationProtocol, dataset: AlignedDataset) -> bool:
    """Whether the data set holds any photo of the protocol."""
    rows = names_of(dataset).rows_of([*protocol.left, *protocol.right])
    return any(row is not None for row in rows.values())


def names_of(dataset: AlignedDataset) -> PhotoNames:
    """The photos of a data set by the names that a list may use."""
    photos = [str(photo) for photo in dataset.column("photo")]
    reasons = dataset.column("reason")
    failed = np.flatnonzero(dataset.column("status") == Status.FAILED.value).tolist()
    return PhotoNames(photos, no_picture={row for row in failed if reasons[row] in _NO_PICTURES})


def _stem(photo: str) -> str:
    folder, slash, name = photo.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


def _told_apart(fitting: Sequence[str]) -> str:
    """What to do about a name that fits several photos."""
    folders = dict.fromkeys(photo.rpartition("/")[0] for photo in fitting)
    if len(folders) == len(fitting):
        listed = " or ".join(repr(folder or ".") for folder in folders)
        return (
            f"Align only one of the folders {listed} and give that as --data, or write the list's photos "
            "with its folder."
        )
    return "Write the photo with its folders and its file ending."


def _refuse_missing(missing: Sequence[str], wanted: int, photos: Sequence[str], in_part: str) -> None:
    if missing:
        example = f"; the manifest has photos like {photos[0]}" if photos else "; the manifest is empty"
        of_a_bin = all(_OF_A_BIN.fullmatch(key) for key in missing)
        raise InputError(
            "protocol",
            "every photo that it names must be in the data set",
            got=f"{len(missing):,} of {wanted:,} missing: {', '.join(missing[:_NAMED])}"
            + (", ..." if len(missing) > _NAMED else "")
            + example,
            fix="A .bin holds its own photos: run `faceverif align FILE.bin OUT`, and give OUT as --data."
            if of_a_bin
            else "Align the folder that holds them, and give that one as --data." + in_part,
        )
