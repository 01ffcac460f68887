"""A tar that is read where it lies: its members' places, and the short texts among them."""

from __future__ import annotations

import shlex
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from data_prep.errors import InputError
from data_prep.inside import refuse_name_outside
from data_prep.picture_formats import is_picture_name
from data_prep.storage import address_of, open_stream, read_ranges
from data_prep.system_errors import system_trouble
from data_prep.tar_end import refuse_torn, refuse_torn_end

_COMPRESSED, _OPENING_BYTES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"), 6
_AT_ONCE = 2**20
_LARGEST_TEXT = 2**20
_LARGEST_PICTURE = 2**26


def read_span(path: Path, offset: int, size: int) -> bytes:
    """Bytes of a file; fewer, or none, where it has become shorter or is gone."""
    if address_of(path) is not None:
        return next(read_ranges([(path, offset, size)]))
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(size) or b""
    except OSError:
        return b""


class ShardFile:
    """A tar on a disk of this machine.

    Args:
        path: where it lies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Its files, in their order.

        Raises:
            InputError: it is compressed or cut off, or holds links, devices or names that lead out of it.
        """
        try:
            yield from self._members()
        except InputError:
            raise
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            if system_trouble(error) is not None:  # no rights: the file may be whole
                raise
            raise self._broken(error) from error

    def text(self, member: tarfile.TarInfo) -> bytes:
        """The content of a member that is a text: its first MiB at most."""
        return read_span(self.path, member.offset_data, min(member.size, _LARGEST_TEXT))

    def checksum(self, member: tarfile.TarInfo) -> int | None:
        """CRC-32 of a member, where it was read anyway."""
        return None

    def _members(self) -> Iterator[tarfile.TarInfo]:
        with tarfile.open(self.path, "r:", encoding="utf-8", errors="backslashreplace") as archive:
            for member in archive:
                if not member.isdir():
                    yield self._checked(member)
            refuse_torn(archive)

    def _checked(self, member: tarfile.TarInfo) -> tarfile.TarInfo:
        refuse_name_outside(member.name, field=str(self.path))
        if not member.isreg() or member.issparse():
            raise refused_shard(
                self.path, "must hold plain files only", f"{member.name}, a link, device or sparse file"
            )
        return member

    def _broken(self, error: Exception) -> InputError:
        if read_span(self.path, 0, _OPENING_BYTES).startswith(_COMPRESSED):
            unpack = f"tar xf {shlex.quote(self.path.name if address_of(self.path) else str(self.path))}"
            return InputError(
                str(self.path),
                "must be a whole tar without compression",
                got="a compressed one",
                fix=f"Unpack it, {unpack}, and give the folder.",
            )
        return refused_shard(self.path, "must be a whole tar without compression", error)


class StreamedShard(ShardFile):
    """A tar in a storage, read once from its beginning to its end: a request per member would take hours.

    Its texts and the checksums of its pictures are kept, so that no further request is needed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._texts: dict[int, bytes] = {}
        self._checksums: dict[int, int] = {}

    def text(self, member: tarfile.TarInfo) -> bytes:
        """See `ShardFile`."""
        return self._texts.get(member.offset_data, b"")

    def checksum(self, member: tarfile.TarInfo) -> int | None:
        """See `ShardFile`."""
        return self._checksums.get(member.offset_data)

    def _members(self) -> Iterator[tarfile.TarInfo]:
        with (
            open_stream(self.path) as stream,
            tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="backslashreplace") as archive,
        ):
            for member in archive:
                if not member.isdir():
                    self._keep(archive, self._checked(member))
                    yield member
                cast(Any, archive).members.clear()  # which it would otherwise keep, all of them
            end = archive.offset
        refuse_torn_end(self._rest(end), at=end)

    def _rest(self, place: int) -> Iterator[bytes]:
        """Its bytes from a place on; of a whole shard they are few."""
        while portion := read_span(self.path, place, _AT_ONCE):
            yield portion
            place += len(portion)

    def _keep(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        picture = is_picture_name(member.name)
        if member.size > (_LARGEST_PICTURE if picture else _LARGEST_TEXT):
            return
        file = archive.extractfile(member)
        content = b"" if file is None else file.read()
        if picture:
            self._checksums[member.offset_data] = zlib.crc32(content)
        else:
            self._texts[member.offset_data] = content


def refused_shard(path: Path, rule: str, got: object) -> InputError:
    """The error for a shard that is not what it must be."""
    return InputError(str(path), rule, got=got, fix="Fetch or export the shards again.")
