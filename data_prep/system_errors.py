"""What the system refuses (disk, memory, permission), recognised in the errors of many libraries."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from data_prep.errors import first_line, printable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FAILED = {
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ESTALE,
    errno.ETXTBSY,
}
# Torch, OpenCV, ONNX Runtime and the system itself.
_OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "cannot allocate memory", "insufficient memory"),
    *("failed to allocate memory", "bad_alloc"),
)
_CIRCLE = "Symlink loop from"  # what pathlib says until Python 3.13, in a RuntimeError
_LESS_AT_ONCE = "Give it more, or less to do at once: a smaller batch, fewer workers, smaller photos"
_LESS_ON_A_GPU = (
    "The GPU needs less to do at once: raise training.accumulate, take training.precision=bf16-mixed or a "
    "smaller training.batch_size; or compute with --device cpu"
)


def system_trouble(error: BaseException) -> str | None:
    """One printable line about what the system refused, with the fix, without a full stop; else None."""
    line = _trouble(error)
    return None if line is None else printable(line)


def _trouble(error: BaseException) -> str | None:
    if disk_is_full(error):
        return _full_disk(error)
    for cause in _causes(error):
        if isinstance(cause, MemoryError) or any(words in str(cause).lower() for words in _OUT_OF_MEMORY):
            fix = _LESS_ON_A_GPU if "cuda" in str(cause).lower() else _LESS_AT_ONCE
            return f"out of memory ({first_line(cause)[:100]}). {fix}"
        if isinstance(cause, RuntimeError) and str(cause).startswith(_CIRCLE):
            return f"{first_line(cause)}. Remove that link, or name another path"
        if isinstance(cause, OSError) and is_refused(cause):
            place = cause.filename2 or cause.filename or "a file"
            return f"{place} cannot be written or read: {cause.strerror}. Change its rights, or the path"
        if isinstance(cause, OSError) and cause.errno in _FAILED:
            return f"{cause.filename or 'a file'}: {cause.strerror}"
    return None


def is_refused(error: BaseException) -> bool:
    """Whether the system forbids it: missing rights, a read-only file system."""
    return isinstance(error, OSError) and error.errno in _REFUSED


def disk_is_full(error: BaseException | None) -> bool:
    """Whether an error comes from a full disk or a used-up quota.

    By the system's words, for not every writer hands on the system's number: torch raises a RuntimeError on
    top of the OSError, safetensors an error of its own.
    """
    return _number(error) is not None


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Name the file that a full disk has no room for: the error of a failed write does not say which it was.

    Raises:
        OSError: the disk is full; with the path.
    """
    try:
        yield
    except Exception as error:
        number = _number(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _number(error: BaseException | None) -> int | None:
    """Of the system's errors, the one by which a disk is full."""
    said = [str(cause) for cause in _causes(error)]
    return next((number for number in _FULL if any(os.strerror(number) in words for words in said)), None)


def _full_disk(error: BaseException) -> str:
    """Which file did not fit, and the room that there is now that what was written of it is removed."""
    named = (cause.filename for cause in _causes(error) if isinstance(cause, OSError) and cause.filename)
    file = next(named, None)
    if file is None:
        return "the disk is full. Free some space"
    if _number(error) == errno.EDQUOT:
        return f"the disk is full for you, whose quota is used up: no room for {file}. Free some space"
    free_mb = room_at(Path(file).parent).free / 1e6
    return f"the disk is full: {file} needs more than the {free_mb:,.1f} MB that are free. Free some space"


class Room(NamedTuple):
    """What is left of a disk.

    Attributes:
        folder: a place on it.
        free: bytes.
    """

    folder: Path
    free: int


def room_at(folder: Path) -> Room:
    """What is free where a folder lies, or would lie."""
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    return Room(place, shutil.disk_usage(place).free)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
