"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data_prep.errors import InputError
from data_prep.system_errors import naming_full_disk

if sys.platform != "win32":
    import fcntl

UNFINISHED = ".unfinished-"  # how the names of what is being written begin
_TRIES = 10


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A place to write to; it becomes `path` when the block ends well, and is removed when it does not.

    The temporary name ends like `path`, since many writers choose the format by the ending.

    Yields:
        a path beside `path`, in the same file system, so that the rename is atomic.
    """
    with unfinished(path, folder=False) as place:
        yield place
        os.replace(place, path)


@contextmanager
def folder_whole(path: Path) -> Iterator[Path]:
    """A folder to fill; it becomes `path` when the block ends well, and is removed when it does not.

    Yields:
        a folder beside `path`, which must be new or empty.
    """
    with unfinished(path, folder=True) as place:
        yield place
        if path.exists():
            path.rmdir()  # Windows replaces no folder
        os.replace(place, path)


@contextmanager
def files_whole(folder: Path) -> Iterator[Path]:
    """A folder for files that belong together; they replace those in `folder` when the block ends well.

    When it does not, the earlier files stay: a result never has files of two runs. What the block does not
    write stays in `folder`, but each folder that it writes replaces the earlier one as a whole.

    Yields:
        a folder in `folder`, which need not be there yet.
    """
    with naming_full_disk(folder), unfinished(folder / "files", folder=True) as place:
        yield place
        for new in sorted(place.iterdir()):
            old = folder / new.name
            if old.is_dir():
                shutil.rmtree(old)
            os.replace(new, old)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, UTF-8, or leave what was there."""
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


# --- unfinished files: named at random, for process ids repeat in containers; locked while they are written


@contextmanager
def unfinished(path: Path, *, folder: bool) -> Iterator[Path]:
    """A new file or folder beside `path`, removed at the end if it is still there.

    Folders above it that are new are made, and removed again if nothing comes of it.

    The system's lock on it lasts as long as it is written. So what has no lock is what a killed process left;
    it is removed first.

    Args:
        path: what it will become, or what is made from it.
        folder: whether it is one.
    """
    made = new_folders(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    opening = _opening(path)
    for leftover in path.parent.glob(f"{opening}*"):
        _remove_abandoned(leftover)
    place, held = _new(path, opening, folder=folder)
    try:
        with naming_full_disk(path):
            yield place
    finally:
        with suppress(OSError):  # of a disk that is gone: it must not hide the error that ends the block
            _remove(place)
        if held is not None:
            os.close(held)
        remove_empty(made)


def refuse_busy(path: Path, *, command: str, option: str = "--out") -> None:
    """A file or folder that another process is writing at this moment is left to it.

    Args:
        path: what will be written with `written_whole` or `folder_whole`.
        command: who writes it, for the message, such as `faceverif embed`.
        option: what the user named it with, for the message.

    Raises:
        InputError: another process writes it.
    """
    for other in path.parent.glob(f"{_opening(path)}*"):
        try:
            held = _lock(other)
        except BlockingIOError as error:
            raise InputError(
                option,
                "must not be in use",
                got=f"{path}, which another `{command}` is writing",
                fix=f"Wait for it or name another {option}.",
            ) from error
        except FileNotFoundError:  # it was finished meanwhile
            continue
        if held is not None:
            os.close(held)


def _opening(path: Path) -> str:
    """How the names of what will become this path begin."""
    digest = hashlib.sha256(path.name.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{UNFINISHED}{digest[:8]}-"


def _new(path: Path, opening: str, *, folder: bool) -> tuple[Path, int | None]:
    """An empty file or folder, and the lock on it."""
    for _ in range(_TRIES):
        place = path.with_name(f"{opening}{secrets.token_hex(4)}{path.suffix}")
        _create(place, path, folder=folder)
        try:
            return place, _lock(place)
        except OSError:  # another process took it for a leftover, in the moment before it was locked
            _remove(place)
    raise FileExistsError(f"{path.parent}: other processes remove what is new")


def _create(place: Path, path: Path, *, folder: bool) -> None:
    """Make an empty file or folder; an error names `path`, which the user knows."""
    try:
        if folder:
            place.mkdir()
        else:
            place.touch(exist_ok=False)
    except OSError as error:
        # The folder above is there: a system such as /proc says so of every name in it.
        refused = error.errno == errno.ENOENT and path.parent.is_dir()
        number = errno.EACCES if refused else error.errno
        raise OSError(number, os.strerror(number or 0), str(path)) from error


def _lock(place: Path) -> int | None:
    """A descriptor that holds a file or folder until it is closed; None where the system has no such locks.

    Raises:
        BlockingIOError: another process holds it.
        FileNotFoundError: it is gone.
    """
    if sys.platform == "win32":
        return None
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # some network file systems have none
        os.close(descriptor)
        return None
    return descriptor


def _remove_abandoned(leftover: Path) -> None:
    """Remove what a process that is gone was writing."""
    try:
        held = _lock(leftover)
    except OSError:
        return
    if held is not None:
        _remove(leftover)
        os.close(held)


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


# --- folders for results


def refuse_file(out: Path, *, option: str = "--out") -> None:
    """Results go into a folder, which need not be there yet; said before the work, not after it.

    Args:
        out: the folder.
        option: what the user named it with, for the message.

    Raises:
        InputError: there is a file, or one where a folder above it would be; or nothing can be written there.
    """
    for place in (out, *out.parents):
        if place.exists():
            if not place.is_dir():
                raise InputError(option, "must be a folder", got=f"the file {place}", fix="Name another one.")
            if not os.access(place, os.W_OK | os.X_OK):
                raise not_writable(place, option=option)
            return


def refuse_folder(out: Path, *, option: str = "--out") -> None:
    """`refuse_file` for results that are one file.

    Args:
        out: the file, which need not be there yet.
        option: what the user named it with, for the message.

    Raises:
        InputError: there is a folder, or its own folder cannot be made or written.
    """
    if out.is_dir():
        raise InputError(option, "must be a file", got=f"the folder {out}", fix="Name another one.")
    refuse_file(out.parent, option=option)


def refuse_other_ending(out: Path, ending: str, *, option: str = "--out") -> None:
    """The ending of a file's name says its form.

    Args:
        out: the file, which need not be there yet.
        ending: with its dot, in small letters.
        option: what the user named it with, for the message.

    Raises:
        InputError: it ends otherwise.
    """
    if out.suffix.lower() != ending:
        fix = f"Use {out.with_suffix(ending)}." if out.name else f"Name a file, such as out{ending}."
        raise InputError(option, f"must be a {ending} file", got=out, fix=fix)


def not_writable(place: Path, *, option: str) -> InputError:
    """The error for a folder in which nothing can be written."""
    return InputError(
        option,
        "must be in a place where you may write",
        got=f"{place}, which is read-only for you",
        fix="Name another one, or change its rights.",
    )


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
            "must be a folder that can be created",
            got=out,
            fix=f"The system says: {error.strerror}. Name another one.",
        ) from error


def new_folders(out: Path) -> list[Path]:
    """Of a folder and those above it, the ones that are not there yet, the innermost first."""
    return [folder for folder in (out, *out.parents) if not folder.exists()]


def remove_empty(made: list[Path], *, own: str | None = None) -> None:
    """Remove folders that were new, the innermost first, as far as nothing but our own file lies in them.

    Meanwhile another command may put something there, or remove them. That is no error, and must not hide
    the one that ends this command.

    Args:
        made: `new_folders` of before.
        own: the name of the file that we put into the innermost; None: there is none.
    """
    with suppress(OSError):
        if own is not None and made and [path.name for path in made[0].iterdir()] == [own]:
            (made[0] / own).unlink()
        for folder in made:
            folder.rmdir()
