"""One process at a time in a folder; the system lets go when it ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from data_prep.atomic import make_folder
from data_prep.errors import InputError

LOCK_NAME = ".lock"


@contextmanager
def locked(folder: Path, *, command: str, option: str = "--out") -> Iterator[None]:
    """Hold a folder that exists.

    Args:
        folder: what nobody else may fill meanwhile.
        command: who fills it, for the message, such as `faceverif align`.
        option: what the user named the folder with, for the message.

    Raises:
        InputError: another process holds it.
    """
    try:
        with FileLock(folder / LOCK_NAME, blocking=False):
            yield
    except Timeout as error:
        raise InputError(
            option,
            "must not be in use",
            got=f"{folder}, which another `{command}` is filling",
            fix=f"Wait for it or name another {option}.",
        ) from error


@contextmanager
def filled(out: Path, *, command: str, option: str = "--out") -> Iterator[None]:
    """Make a folder and hold it while it is filled; where it was made and nothing arrived, it goes again.

    Args:
        out: the folder.
        command: who fills it, for the message, such as `faceverif align`.
        option: what the user named the folder with, for the message.

    Raises:
        InputError: it cannot be made, or another process holds it.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    make_folder(out, option=option)
    with locked(out, command=command, option=option):
        try:
            yield
        finally:
            if made and [path.name for path in out.iterdir()] == [LOCK_NAME]:
                (out / LOCK_NAME).unlink()
                for folder in made:
                    folder.rmdir()
