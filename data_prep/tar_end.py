"""The end of a tar. Python takes any broken header for it, and so a damaged tar for a smaller one."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator

_AT_ONCE = 2**20
MAGIC, MAGIC_AT = b"ustar", 257  # in the header of every member


def refuse_torn(archive: tarfile.TarFile) -> None:
    """Refuse a tar that does not end where its last member does.

    Args:
        archive: opened for reading anywhere in it; all its members were read.

    Raises:
        tarfile.ReadError: it does not.
    """
    file = archive.fileobj
    file.seek(archive.offset)
    refuse_torn_end(iter(lambda: file.read(_AT_ONCE), b""), at=archive.offset)


def refuse_torn_end(rest: Iterable[bytes], *, at: int) -> None:
    """Refuse what follows the members of a tar, if it is not the end of one.

    Behind its first block of zeros, a tar may hold anything but the header of a further member: there, a part
    of it was lost, such as what a download left as zeros.

    Args:
        rest: what follows, in portions of whole blocks; only the last one may end within a block.
        at: the byte where it begins, for the message.

    Raises:
        tarfile.ReadError: no block of zeros comes first, or a header follows.
    """
    place = at
    for portion in rest:
        if place == at and portion[: tarfile.BLOCKSIZE] != bytes(tarfile.BLOCKSIZE):
            break
        header = next(_headers(portion), None)
        if header is not None:
            raise tarfile.ReadError(f"another file at byte {place + header:,}, behind the end of the archive")
        place += len(portion)
    if place == at:
        raise tarfile.ReadError(f"no end of the archive at byte {at:,}")


def _headers(portion: bytes) -> Iterator[int]:
    """Where blocks begin that are headers of members."""
    found = portion.find(MAGIC)
    while found >= 0:
        if found % tarfile.BLOCKSIZE == MAGIC_AT:
            yield found - MAGIC_AT
        found = portion.find(MAGIC, found + 1)
