"""InsightFace RecordIO (`train.rec`, `train.idx`, `property`), read without MXNet.

A record is a magic number, a word with its length in the lower 29 bits and its part in the upper 3, and the
payload, padded to four bytes. A payload that holds the magic number at a multiple of four bytes is written in
parts, cut there. Payloads open with MXNet's IRHeader: number of labels, one label, id, second id; then come
the labels, where their number is not 0, and the encoded photo. Records with labels and no photo are headers:
the first announces how many photos follow, the last ones which photos belong to each identity.
`train.lst` says nothing that the records do not say.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError
from data_prep.photos import PhotoError
from data_prep.progress import say
from data_prep.sources.base import Listing, Skipped, SourceFormat, SourcePhoto, listing
from data_prep.walk import left_by_the_system

_MAGIC = struct.pack("<I", 0xCED7230A)
_LENGTH_BITS = 29
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_PART_HEADER = struct.Struct("<4sI")
_RECORD_HEADER = struct.Struct("<IfQQ")
_LABEL_BYTES = 4
_OPENING_BYTES = _PART_HEADER.size + _RECORD_HEADER.size + _LABEL_BYTES
# No photo comes near it; a file that claims more is broken, and must not cost the memory that it claims.
_LARGEST_RECORD = 2**28
# MXNet keeps counts as float32, which is exact up to here.
_LARGEST_EXACT = 2**24
_PROPERTY_BYTES = 1000


class RecordHead(NamedTuple):
    """What a record is, without its photo.

    Attributes:
        offset: where it begins in the file.
        end: where the next one begins.
        label: the first label: of a photo, the identity's number.
        labels: how many labels follow the header; 0 where `label` is the only one.
        content_bytes: length of the encoded photo; 0 in a header record.
    """

    offset: int
    end: int
    label: float
    labels: int
    content_bytes: int

    @property
    def is_header(self) -> bool:
        """Whether it announces photos instead of being one."""
        return self.labels > 0 and self.content_bytes == 0


class Record(NamedTuple):
    """A whole record.

    Attributes:
        labels: (labels,) float32, at least one.
        id: what the writer numbered it.
        content: the photo as it was encoded; empty in a header record.
    """

    labels: NDArray[np.float32]
    id: int
    content: bytes


class RecordFile:
    """A `.rec` file, by offset or from its beginning; not for threads.

    Args:
        path: the file.

    Raises:
        InputError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Unbuffered: heads lie kilobytes from each other, and each would fill a buffer.
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise InputError(
                str(path), "must be a readable file", got=error.strerror, fix="Check it."
            ) from error
        self.size = path.stat().st_size

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, offset: int) -> Record:
        """The record that begins there.

        Raises:
            InputError: no whole record does.
        """
        payload, _ = self._payload(offset)
        count, label, number, _ = self._unpack(payload, len(payload), offset)
        begin = _RECORD_HEADER.size + _LABEL_BYTES * count
        labels = np.frombuffer(payload[_RECORD_HEADER.size : begin], dtype="<f4")
        return Record(labels if count else np.array([label], np.float32), number, payload[begin:])

    def head(self, offset: int) -> RecordHead:
        """What the record that begins there is; costs no more than its first bytes.

        Raises:
            InputError: no whole record does.
        """
        part, begin, length, payload = self._part(offset)
        if part == _WHOLE:
            end = _padded(begin + length)
            payload = payload[:length]
        else:
            payload, end = self._payload(offset)
            length = len(payload)
        count, label, _, _ = self._unpack(payload, length, offset)
        if count:
            (label,) = struct.unpack_from("<f", payload, _RECORD_HEADER.size)
        content_bytes = length - _RECORD_HEADER.size - _LABEL_BYTES * count
        return RecordHead(offset, end, label, count, content_bytes)

    def heads(self) -> Iterator[RecordHead]:
        """The heads of all records in the file's order.

        Raises:
            InputError: where a record is broken; nothing says where the next would begin.
        """
        offset = 0
        while offset < self.size:
            head = self.head(offset)
            yield head
            offset = head.end

    def _payload(self, offset: int) -> tuple[bytes, int]:
        """A record's joined parts, and where the next record begins."""
        parts: list[bytes] = []
        place, taken, allowed = offset, 0, (_WHOLE, _FIRST)
        while True:
            part, begin, length, _ = self._part(place)
            taken += length + len(_MAGIC)
            if part not in allowed or taken > _LARGEST_RECORD:
                raise self._damaged(place, "a part that does not follow, or a record beyond 256 MiB")
            parts.append(self._bytes(begin, length))
            place, allowed = _padded(begin + length), (_MIDDLE, _LAST)
            if part in (_WHOLE, _LAST):
                return _MAGIC.join(parts), place

    def _part(self, offset: int) -> tuple[int, int, int, bytes]:
        """Which part begins there, where its payload does, its length, and how it and what follows open."""
        if not 0 <= offset <= self.size - _PART_HEADER.size:
            raise self._damaged(offset, f"nothing, the file has {self.size:,} bytes")
        # One read for the part's header and a record's: there are millions of them.
        opening = self._bytes(offset, min(_OPENING_BYTES, self.size - offset))
        magic, word = _PART_HEADER.unpack_from(opening)
        begin, length = offset + _PART_HEADER.size, word & (2**_LENGTH_BITS - 1)
        if magic != _MAGIC:
            raise self._damaged(offset, f"{magic.hex()}, not the magic number {_MAGIC.hex()}")
        if length > min(self.size - begin, _LARGEST_RECORD):
            raise self._damaged(offset, f"{length:,} bytes claimed, {self.size - begin:,} left in the file")
        return word >> _LENGTH_BITS, begin, length, opening[_PART_HEADER.size :]

    def _bytes(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(length)
        if data is None or len(data) != length:  # it became shorter since it was opened
            raise self._damaged(offset, "the file ends")
        return data

    def _unpack(self, payload: bytes, length: int, offset: int) -> tuple[int, float, int, int]:
        if length < _RECORD_HEADER.size:
            raise self._damaged(offset, f"{length} bytes, fewer than its header")
        count, label, number, second = _RECORD_HEADER.unpack_from(payload)
        if _LABEL_BYTES * count > length - _RECORD_HEADER.size:
            raise self._damaged(offset, f"{count:,} labels claimed in {length:,} bytes")
        return count, label, number, second

    def _damaged(self, offset: int, got: str) -> InputError:
        return InputError(
            f"{self.path}, byte {offset:,}",
            "must hold a whole record",
            got=got,
            fix="Fetch it again, with its .idx.",
        )


def _padded(offset: int) -> int:
    return offset + -offset % 4  # offsets are multiples of four, so the end's remainder is the payload's


# --- as a source of photos


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
                return records.read(self.offset).content
        except (InputError, OSError) as error:
            raise PhotoError("damaged_record") from error


def list_photos(source: Path) -> Listing[RecordPhoto]:
    """Every photo record; its key is `identity/number`, both as the records number them.

    With a `.idx` beside the `.rec`, a broken record costs one photo, which fails by name; without, records
    are found from one to the next, and a broken one ends it.

    Args:
        source: a `.rec` file or the folder that holds it.

    Raises:
        InputError: no such file, several, one that is broken as a whole or holds fewer photos than announced.
    """
    path = _rec_file(source)
    with RecordFile(path) as records:
        index = _read_index(path.with_suffix(".idx"), records)
        photos = _indexed(records, index) if index else _in_sequence(records)
    if not photos:
        raise InputError(str(path), "must hold photos", got="none", fix="Fetch it again.")
    _compare_property(path.with_name("property"), photos)
    skipped = Skipped()
    for other in _packs_in(source) if source.is_dir() else ():
        if other != path:
            skipped.add(other.name, "another_pack")
    return listing(path, photos, skipped)


def _rec_file(source: Path) -> Path:
    if source.is_file():
        return source
    found = _packs_in(source)
    if source / "train.rec" in found:
        return source / "train.rec"
    if len(found) > 1:
        raise InputError(
            "SRC",
            "must hold one .rec file",
            got=", ".join(path.name for path in found[:5]),
            fix="Give the file instead of its folder.",
        )
    return found[0]


def _packs_in(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.glob("*.rec") if path.is_file() and not left_by_the_system(path.name)
    )


def _in_sequence(records: RecordFile) -> list[RecordPhoto]:
    photos, announced = [], None
    for number, head in enumerate(records.heads()):
        if number == 0:
            announced = _announced(head)
        if not head.is_header:
            photos.append(_photo(records.path, number, head))
    if announced is not None and len(photos) != announced:
        raise InputError(
            str(records.path),
            f"must hold the {announced:,} photos that its first record announces",
            got=f"{len(photos):,}",
            fix="Fetch it again.",
        )
    return photos


def _announced(head: RecordHead) -> int | None:
    """How many photos the first record says there are; null where it is a photo itself."""
    known = head.is_header and 1 <= head.label < _LARGEST_EXACT and head.label.is_integer()
    return int(head.label) - 1 if known else None


def _indexed(records: RecordFile, index: dict[int, int]) -> list[RecordPhoto]:
    photos, end = [], 0
    for number, offset in index.items():
        try:
            head = records.head(offset)
        except InputError:
            photos.append(_broken(records.path, number, offset))
            continue
        end = max(end, head.end)
        if number == 0:
            _refuse_short_index(records.path, index, _announced(head))
        if not head.is_header:
            photos.append(_photo(records.path, number, head))
    # What lies behind the last whole record that is listed may be a broken one that is listed too.
    explained = end >= records.size or any(photo.offset >= end for photo in photos if photo.refused)
    if not explained or all(photo.refused for photo in photos):
        raise _unfit_index(records.path, f"{len(index):,} records, up to byte {end:,} of {records.size:,}")
    return photos


def _refuse_short_index(path: Path, index: dict[int, int], announced: int | None) -> None:
    missing = 0 if announced is None else sum(number not in index for number in range(1, announced + 1))
    if missing:
        raise _unfit_index(path, f"{missing:,} of the {announced:,} photos missing that the .rec announces")


def _photo(path: Path, number: int, head: RecordHead) -> RecordPhoto:
    label = head.label
    if head.content_bytes == 0 or not (0 <= label < 2**31 and label.is_integer()):
        return _broken(path, number, head.offset)
    identity = f"{int(label):06d}"
    return RecordPhoto(key=f"{identity}/{number:07d}", identity=identity, path=path, offset=head.offset)


def _broken(path: Path, number: int, offset: int) -> RecordPhoto:
    return RecordPhoto(key=f"{number:07d}", identity=None, refused="damaged_record", path=path, offset=offset)


def _read_index(path: Path, records: RecordFile) -> dict[int, int]:
    """Record number -> offset, in the order of offsets; empty without such a file."""
    if not path.exists():
        return {}
    # The shortest record is longer than the longest line, so an index never outgrows its records.
    if not path.is_file() or path.stat().st_size > records.size:
        raise _unfit_index(records.path, "it is larger than the .rec, or no file")
    index: dict[int, int] = {}
    for line in path.read_bytes().splitlines():
        fields = line.split()
        if len(fields) != 2 or not all(field.isdigit() and len(field) < 20 for field in fields):
            raise _unfit_index(records.path, f"the line {line[:60]!r}")
        index[int(fields[0])] = int(fields[1])
    # A number or an offset that comes twice would make photos appear twice, or never.
    if len(set(index.values())) != len(path.read_bytes().splitlines()):
        raise _unfit_index(records.path, "a record listed twice")
    return dict(sorted(index.items(), key=lambda entry: entry[1]))


def _unfit_index(path: Path, got: str) -> InputError:
    return InputError(
        str(path.with_suffix(".idx")),
        f"must list every record of {path.name} once, a number and an offset per line",
        got=got,
        fix="Fetch both again, or remove the .idx to read the records one after the other.",
    )


def _compare_property(path: Path, photos: list[RecordPhoto]) -> None:
    """Say so when the pack's `property`, `identities,height,width`, gives another number of identities."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        fields = file.read(_PROPERTY_BYTES).split(b",")
    found = len({photo.identity for photo in photos if photo.identity is not None})
    if not fields[0].strip().isdigit() or int(fields[0]) != found:
        say(
            f"{path} announces {fields[0][:20].decode('ascii', 'replace')} identities; "
            f"the records have {found:,}"
        )


def _recognises(source: Path) -> bool:
    if source.is_file():
        with source.open("rb") as file:
            return source.suffix == ".rec" or file.read(len(_MAGIC)) == _MAGIC
    return source.is_dir() and bool(_packs_in(source))


FORMAT = SourceFormat("InsightFace's train.rec, or the folder of it", _recognises, list_photos)
