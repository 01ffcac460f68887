"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_prep.errors import InputError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A place to write to; it becomes `path` when the block ends well, and is removed when it does not.

    The temporary name ends like `path`, since many writers choose the format by the ending.

    Yields:
        a path beside `path`, in the same file system, so that the rename is atomic.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def folder_whole(path: Path) -> Iterator[Path]:
    """A folder to fill; it becomes `path` when the block ends well, and is removed when it does not.

    Yields:
        a folder beside `path`, which must be new or empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    unfinished.mkdir()
    try:
        yield unfinished
        if path.exists():
            path.rmdir()  # Windows replaces no folder
        os.replace(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, UTF-8, or leave what was there."""
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def refuse_file(out: Path, *, option: str = "--out") -> None:
    """Results go into a folder, which need not be there yet.

    Args:
        out: the folder.
        option: what the user named it with, for the message.

    Raises:
        InputError: there is a file, or one where a folder above it would be.
    """
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise InputError(option, "must be a folder", got=f"the file {place}", fix="Name another one.")


def make_folder(out: Path, *, option: str = "--out") -> None:
    """Make a folder for results, if it is not there yet.

    Args:
        out: the folder.
        option: what the user named it with, for the message.

    Raises:
        InputError: see `refuse_file`, or the system does not let it be made.
    """
    refuse_file(out, option=option)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            option,
            "must be a folder that can be made",
            got=out,
            fix=f"The system says: {error.strerror}. Name another one.",
        ) from error


def disk_is_full(error: BaseException | None) -> bool:
    """Whether an error comes from a full disk or a used-up quota.

    By the system's words, for not every writer hands on the system's number: torch raises a RuntimeError on
    top of the OSError, safetensors an error of its own.
    """
    words = [os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT)]
    while error is not None:
        if any(word in str(error) for word in words):
            return True
        error = error.__cause__ or error.__context__
    return False
