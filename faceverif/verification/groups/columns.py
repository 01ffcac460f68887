"""Where a column of groups comes from: the list of pairs, a file of attributes, or the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from data_prep.protocols import VerificationProtocol, find_rows
from data_prep.protocols.attributes import Attributes, known
from data_prep.protocols.columns import sides_of
from data_prep.quality.columns import photo_quality
from data_prep.quality.names import FRONTAL, QUALITY_COLUMNS

OPTION = "--groups"
FOLDER = "folder"  # the first folder of a photo's name, such as African in RFW's
# What a manifest says of a photo that pairs can be grouped by; hashes and places are no groups.
_OF_MANIFEST = ("identity", "status", "width", "height", "score", "faces", "detection_pass")
_OF_NAMES = (FOLDER, "identity", "status")
_OF_QUALITY = (*QUALITY_COLUMNS, FRONTAL)


@dataclass(frozen=True)
class PairColumn:
    """A column, for both photos of each pair.

    Attributes:
        name: of the column.
        origin: where it comes from, in words.
        left, right: (pairs,) texts or numbers; None where nothing is known.
        of_names: whether its values are names, also where they are written as numbers.
    """

    name: str
    origin: str
    left: Sequence[Any]
    right: Sequence[Any]
    of_names: bool = False


def find_column(
    name: str, protocol: VerificationProtocol, dataset: AlignedDataset, attributes: Attributes | None
) -> PairColumn:
    """A column by its name: that of the list of pairs, else of the attributes, else of the manifest.

    A list may have a column for both photos together, or one for each, such as `race1` and `race2`.

    Args:
        name: of the column.
        protocol: the pairs.
        dataset: with their photos.
        attributes: what a file says of them.

    Raises:
        InputError: there is no such column, or the attributes are of other photos.
    """
    if name in protocol.columns:
        texts = [known(text) for text in protocol.columns[name]]
        return PairColumn(name, "the list of pairs", texts, texts)
    sides = sides_of(name, protocol.columns)
    if sides is not None:
        left, right = ([known(text) for text in protocol.columns[side]] for side in sides)
        return PairColumn(name, f"columns {' and '.join(sides)} of the list of pairs", left, right)
    if attributes is not None and name in attributes.columns:
        return _of_photos(name, str(attributes.path), attributes.of(dataset, name), protocol, dataset)
    if name == FOLDER:
        folders = [photo.partition("/")[0] if "/" in photo else None for photo in dataset.column("photo")]
        return _of_photos(name, "the names of the photos", folders, protocol, dataset)
    own = dataset.own_columns()
    if name in own:
        return _of_photos(name, "the manifest, where somebody added it", own[name], protocol, dataset)
    if name in _OF_QUALITY:
        return _of_quality(name, protocol, dataset)
    if name in _OF_MANIFEST:
        return _of_photos(name, "the manifest", _plain(dataset.column(name)), protocol, dataset)
    raise InputError(
        OPTION,
        "must name a column of the list of pairs, of --attributes or of the manifest",
        got=name,
        fix=f"There are: {', '.join(column_names(protocol, dataset, attributes))}.",
    )


def column_names(
    protocol: VerificationProtocol, dataset: AlignedDataset, attributes: Attributes | None
) -> list[str]:
    """All columns that pairs can be grouped by."""
    of_file = () if attributes is None else attributes.columns
    added = dataset.own_columns()
    return list(dict.fromkeys([*protocol.columns, *of_file, *added, FOLDER, *_OF_MANIFEST, *_OF_QUALITY]))


def _plain(column: NDArray[Any]) -> list[Any]:
    """Values, with None for what is not known."""
    return [None if value is None or value != value else value for value in column.tolist()]


def _of_quality(name: str, protocol: VerificationProtocol, dataset: AlignedDataset) -> PairColumn:
    """A measure of quality, which an earlier manifest may lack; asked for the photos of the pairs alone."""
    rows, place = np.unique(find_rows([*protocol.left, *protocol.right], dataset), return_inverse=True)
    values = _plain(photo_quality(dataset, rows, [name], read_crops=True)[name])
    found = [values[number] for number in place.tolist()]
    return PairColumn(name, "the manifest", found[: len(protocol)], found[len(protocol) :])


def _of_photos(
    name: str, origin: str, values: Sequence[Any], protocol: VerificationProtocol, dataset: AlignedDataset
) -> PairColumn:
    rows = find_rows([*protocol.left, *protocol.right], dataset)
    found = np.array(values, dtype=object)[rows]
    left, right = found[: len(protocol)].tolist(), found[len(protocol) :].tolist()
    return PairColumn(name, origin, left, right, of_names=name in _OF_NAMES)
