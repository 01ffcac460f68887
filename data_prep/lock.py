"""One process at a time in a folder; the system releases it when the process ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from data_prep.atomic import make_folder, new_folders, not_writable, remove_empty
from data_prep.errors import InputError
from data_prep.own_names import LOCK_NAME
from data_prep.system_errors import is_refused


@contextmanager
def locked(folder: Path, *, command: str, option: str = "--out") -> Iterator[None]:
    """Hold a folder that exists.

    Args:
        folder: what nobody else may fill meanwhile.
        command: who fills it, for the message, such as `faceverif align`.
        option: what the user named the folder with, for the message.

    Raises:
        InputError: another process holds it, or nothing can be written in it.
    """
    lock = FileLock(folder / LOCK_NAME, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(
            option,
            "must not be in use",
            got=f"{folder}, which another `{command}` is filling",
            fix=f"Wait for it or name another {option}.",
        ) from error
    except OSError as error:
        if not is_refused(error):
            raise
        raise not_writable(folder, option=option) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def filled(out: Path, *, command: str, option: str = "--out") -> Iterator[None]:
    """Make a folder and hold it while it is filled; a new folder that stays empty is removed again.

    Args:
        out: the folder.
        command: who fills it, for the message, such as `faceverif align`.
        option: what the user named the folder with, for the message.

    Raises:
        InputError: it cannot be made or written, or another process holds it.
    """
    made = new_folders(out)
    make_folder(out, option=option)
    with locked(out, command=command, option=option):
        try:
            yield
        finally:
            remove_empty(made, own=LOCK_NAME)
