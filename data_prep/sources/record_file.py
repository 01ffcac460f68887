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
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from data_prep.errors import InputError

MAGIC = struct.pack("<I", 0xCED7230A)
_LENGTH_BITS = 29
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_PART_HEADER = struct.Struct("<4sI")
_RECORD_HEADER = struct.Struct("<IfQQ")
_LABEL_BYTES = 4
_OPENING_BYTES = _PART_HEADER.size + _RECORD_HEADER.size + _LABEL_BYTES
# No photo comes near it; a file that claims more is broken, and must not cost the memory that it claims.
_LARGEST_RECORD = 2**28


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

    def read(self, offset: int) -> bytes:
        """The photo of the record that begins there, as it was encoded; empty in a header record.

        Raises:
            InputError: no whole record does.
        """
        payload, _ = self._payload(offset)
        count, _ = self._unpack(payload, len(payload), offset)
        return payload[_RECORD_HEADER.size + _LABEL_BYTES * count :]

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
        count, label = self._unpack(payload, length, offset)
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
            taken += length + len(MAGIC)
            if part not in allowed or taken > _LARGEST_RECORD:
                raise self._damaged(place, "a part that does not follow, or a record beyond 256 MiB")
            parts.append(self._bytes(begin, length))
            place, allowed = _padded(begin + length), (_MIDDLE, _LAST)
            if part in (_WHOLE, _LAST):
                return MAGIC.join(parts), place

    def _part(self, offset: int) -> tuple[int, int, int, bytes]:
        """Which part begins there, where its payload does, its length, and how it and what follows open."""
        if not 0 <= offset <= self.size - _PART_HEADER.size:
            raise self._damaged(offset, f"nothing, the file has {self.size:,} bytes")
        # One read for the part's header and a record's: there are millions of them.
        opening = self._bytes(offset, min(_OPENING_BYTES, self.size - offset))
        magic, word = _PART_HEADER.unpack_from(opening)
        begin, length = offset + _PART_HEADER.size, word & (2**_LENGTH_BITS - 1)
        if magic != MAGIC:
            raise self._damaged(offset, f"{magic.hex()}, not the magic number {MAGIC.hex()}")
        if length > min(self.size - begin, _LARGEST_RECORD):
            raise self._damaged(offset, f"{length:,} bytes claimed, {self.size - begin:,} left in the file")
        return word >> _LENGTH_BITS, begin, length, opening[_PART_HEADER.size :]

    def _bytes(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(length)
        if data is None or len(data) != length:  # it became shorter since it was opened
            raise self._damaged(offset, "the file ends")
        return data

    def _unpack(self, payload: bytes, length: int, offset: int) -> tuple[int, float]:
        """How many labels follow the header, and its own."""
        if length < _RECORD_HEADER.size:
            raise self._damaged(offset, f"{length} bytes, fewer than its header")
        count, label, _, _ = _RECORD_HEADER.unpack_from(payload)
        if _LABEL_BYTES * count > length - _RECORD_HEADER.size:
            raise self._damaged(offset, f"{count:,} labels claimed in {length:,} bytes")
        return count, label

    def _damaged(self, offset: int, got: str) -> InputError:
        return InputError(
            f"{self.path}, byte {offset:,}",
            "must hold a whole record",
            got=got,
            fix="Fetch it again, with its .idx.",
        )


def _padded(offset: int) -> int:
    return offset + -offset % 4  # offsets are multiples of four, so the end's remainder is the payload's
