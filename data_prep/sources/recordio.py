"""InsightFace's train.rec as a source of photos; `record_file` has the format, `record_index` its index."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_prep.dataset.part import Part
from data_prep.errors import InputError
from data_prep.photos import PhotoError
from data_prep.progress import say
from data_prep.repeated_text import numbered
from data_prep.sources.base import Listing, PhotoColumns, Skipped, SourceFormat, SourcePhoto
from data_prep.sources.record_file import MAGIC, RecordFile, RecordHead
from data_prep.sources.record_index import RecordIndex, read_index, unfit_index
from data_prep.walk import packs_in

# MXNet keeps counts as float32, which is exact up to here.
_LARGEST_EXACT = 2**24
_PROPERTY_BYTES = 1000
_BROKEN, _HEADER = -1, -2  # in place of a label
_DAMAGED = "damaged_record"
_AT_ONCE = 2**16


@dataclass(frozen=True, kw_only=True)
class RecordPhoto(SourcePhoto):
    """A photo that is a record.

    Attributes:
        path: the `.rec` file.
        offset: where the record begins.
    """

    path: Path
    offset: int

    def read(self) -> bytes:
        """The record's content."""
        try:
            with RecordFile(self.path) as records:
                return records.read(self.offset)
        except (InputError, OSError) as error:
            raise PhotoError(_DAMAGED) from error


@dataclass(frozen=True, kw_only=True)
class RecordPhotos(PhotoColumns[RecordPhoto]):
    """The photos of a `.rec` file.

    Attributes:
        path: the file.
        offsets: (photos,) where the record of each begins.
    """

    path: Path
    offsets: NDArray[np.int64]

    def _photo(self, place: int) -> RecordPhoto:
        return RecordPhoto(path=self.path, offset=int(self.offsets[place]), **self._known(place))


class _Labels(NamedTuple):
    """The records of a file.

    Attributes:
        numbers: (records,) int64.
        offsets: (records,) int64.
        labels: (records,) int32, the identity's number, `_BROKEN` or `_HEADER`.
    """

    numbers: NDArray[np.int64]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int32]


def list_photos(source: Path) -> Listing[RecordPhoto]:
    """Every photo record, as `read_records` finds them."""
    photos = read_records(source)
    skipped = Skipped()
    for other in packs_in(source, ".rec") if source.is_dir() else ():
        if other != photos.path:
            skipped.add(other.name, "another_pack")
    return Listing(photos, skipped)


def read_records(source: Path, part: Part | None = None) -> RecordPhotos:
    """Every photo record; its key is `identity/number`, both as the records number them.

    With a `.idx` beside the `.rec`, a broken record costs one photo, which fails by name; without, records
    are found from one to the next, and a broken one ends it.

    Args:
        source: a `.rec` file or the folder that holds it.
        part: of the photos that the first record announces, in the order of the file; may hold none. Of other
            photos nothing is read.

    Raises:
        InputError: no such file, no `.idx` for a part, several, one that is broken as a whole or holds fewer
            photos than announced.
    """
    path = _rec_file(source)
    with RecordFile(path) as records:
        index = read_index(path.with_suffix(".idx"), records)
        if part is not None:
            return _columns(path, _part(records, index, part))
        found = _indexed(records, index) if len(index.numbers) else _in_sequence(records)
    if not (found.labels != _HEADER).any():
        raise InputError(str(path), "must hold photos", got="none", fix="Fetch it again.")
    _compare_property(path.with_name("property"), found.labels)
    return _columns(path, found)


def _rec_file(source: Path) -> Path:
    """The `.rec` file that a source is, or that its folder holds.

    Raises:
        InputError: several, and none is called train.rec.
    """
    if source.is_file():
        return source
    found = packs_in(source, ".rec")
    if source / "train.rec" in found:
        return source / "train.rec"
    if len(found) > 1:
        raise InputError(
            "SOURCE",
            "must hold one .rec file",
            got=", ".join(path.name for path in found[:5]),
            fix="Give the file instead of its folder.",
        )
    return found[0]


def _columns(path: Path, found: _Labels) -> RecordPhotos:
    """The photos among the records, sorted by key."""
    photos = found.labels != _HEADER
    numbers, offsets, labels = (each[photos] for each in found)
    known = pa.array(labels, mask=labels == _BROKEN).dictionary_encode()
    identities = numbered(_padded(known.dictionary, 6), known.indices)
    keys = _keys(identities, numbers)
    order = pc.sort_indices(keys)
    return RecordPhotos(
        keys=keys.take(order),
        identities=identities.take(order),
        refused=numbered(pa.array([_DAMAGED]), _zero_where(identities.is_null())).take(order),
        path=path,
        offsets=offsets[order.to_numpy()],
    )


def _keys(identities: pa.DictionaryArray, numbers: NDArray[np.int64]) -> pa.Array:
    """Identity and number, or the number alone; text takes several times the memory of what it is made of."""
    parts = []
    for start in range(0, len(numbers), _AT_ONCE):
        identity = identities[start : start + _AT_ONCE].cast(pa.string())
        number = _padded(pa.array(numbers[start : start + _AT_ONCE]), 7)
        parts.append(pc.coalesce(pc.binary_join_element_wise(identity, number, "/"), number))
    return pa.chunked_array(parts, pa.string()).combine_chunks()


def _zero_where(mask: pa.Array) -> pa.Array:
    return pc.if_else(mask, pa.scalar(0, pa.int32()), None)


def _padded(numbers: pa.Array, digits: int) -> pa.Array:
    return pc.utf8_lpad(numbers.cast(pa.string()), digits, "0")


def _in_sequence(records: RecordFile) -> _Labels:
    offsets, labels, announced = array("q"), array("i"), None
    for number, head in enumerate(records.heads()):
        if number == 0:
            announced = _announced(head)
        offsets.append(head.offset)
        labels.append(_label(head))
    found = _Labels(np.arange(len(labels)), np.array(offsets, np.int64), np.array(labels, np.int32))
    photos = int((found.labels != _HEADER).sum())
    if announced is not None and photos != announced:
        raise InputError(
            str(records.path),
            f"must hold the {announced:,} photos that its first record announces",
            got=f"{photos:,}",
            fix="Fetch it again.",
        )
    return found


def _announced(head: RecordHead) -> int | None:
    """How many photos the first record says there are; None where it is a photo itself."""
    known = head.is_header and 1 <= head.label < _LARGEST_EXACT and head.label.is_integer()
    return int(head.label) - 1 if known else None


def _part(records: RecordFile, index: RecordIndex, part: Part) -> _Labels:
    if not len(index.numbers):
        raise InputError(
            "--part",
            "needs the index beside the records, to find a part without reading the rest",
            got=f"no {records.path.with_suffix('.idx')}",
            fix="Fetch it too, or leave out --part.",
        )
    places = _places_of_part(records, index, part)
    own = RecordIndex(*(column[places] for column in index))
    labels = np.full(len(own.numbers), _BROKEN, np.int32)
    for place, offset in enumerate(_one_by_one(own.offsets)):
        with suppress(InputError):  # one broken record costs one photo
            labels[place] = _label(records.head(offset))
    return _Labels(*own, labels)


def _places_of_part(records: RecordFile, index: RecordIndex, part: Part) -> NDArray[np.int64]:
    """Where the index lists an equal share of the photos, and of what else there is.

    The latter are the headers of identities, which stand at the end, and photos that nobody announced.
    """
    announced = 0
    for offset in index.offsets[index.numbers == 0].tolist():
        with suppress(InputError):  # where the first record is broken, nothing tells photos from headers
            announced = _announced(records.head(offset)) or 0
    _refuse_short_index(records.path, index.numbers, announced)
    photos = (index.numbers >= 1) & (index.numbers <= announced)
    shares = (np.flatnonzero(each) for each in (photos, ~photos))
    return np.sort(np.concatenate([share[part.span(len(share))] for share in shares]))


def _indexed(records: RecordFile, index: RecordIndex) -> _Labels:
    labels = np.full(len(index.numbers), _BROKEN, np.int32)
    end = 0
    for place, offset in enumerate(_one_by_one(index.offsets)):
        try:
            head = records.head(offset)
        except InputError:
            continue
        end = max(end, head.end)
        labels[place] = _label(head)
        if index.numbers[place] == 0:
            _refuse_short_index(records.path, index.numbers, _announced(head))
    # What lies behind the last whole record that is listed may be a broken one that is listed too.
    broken = labels == _BROKEN
    explained = end >= records.size or (index.offsets[broken] >= end).any()
    if not explained or broken[labels != _HEADER].all():
        raise unfit_index(
            records.path, f"{len(index.numbers):,} records, up to byte {end:,} of {records.size:,}"
        )
    return _Labels(*index, labels)


def _one_by_one(numbers: NDArray[np.int64]) -> Iterator[int]:
    """The same as Python's integers, without all of them in memory."""
    for start in range(0, len(numbers), _AT_ONCE):
        yield from numbers[start : start + _AT_ONCE].tolist()


def _refuse_short_index(path: Path, numbers: NDArray[np.int64], announced: int | None) -> None:
    there = 0 if announced is None else int(((numbers >= 1) & (numbers <= announced)).sum())
    missing = (announced or 0) - there
    if missing:
        raise unfit_index(path, f"{missing:,} of the {announced:,} photos missing that the .rec announces")


def _label(head: RecordHead) -> int:
    """Whom a record shows, by number; `_HEADER` or `_BROKEN` for one that shows nobody."""
    if head.is_header:
        return _HEADER
    whole = head.content_bytes > 0 and 0 <= head.label < 2**31 and head.label.is_integer()
    return int(head.label) if whole else _BROKEN


def _compare_property(path: Path, labels: NDArray[np.int32]) -> None:
    """Say so when the pack's `property`, `identities,height,width`, gives another number of identities."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        fields = file.read(_PROPERTY_BYTES).split(b",")
    found = len(np.unique(labels[labels >= 0]))
    if not fields[0].strip().isdigit() or int(fields[0]) != found:
        say(
            f"{path} announces {fields[0][:20].decode('ascii', 'replace')} identities; "
            f"the records have {found:,}"
        )


def _recognises(source: Path) -> bool:
    if source.is_file():
        with source.open("rb") as file:
            return source.suffix == ".rec" or file.read(len(MAGIC)) == MAGIC
    return source.is_dir() and bool(packs_in(source, ".rec"))


FORMAT = SourceFormat("InsightFace's train.rec, or the folder of it", _recognises, list_photos)
