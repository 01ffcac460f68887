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
def locked(folder: Path, *, command: str) -> Iterator[None]:
    """Hold a folder that exists.

    Args:
        folder: what nobody else may fill meanwhile.
        command: who fills it, for the message, such as `faceverif align`.

    Raises:
        InputError: another process holds it.
    """
    try:
        with FileLock(folder / LOCK_NAME, blocking=False):
            yield
    except Timeout as error:
        raise InputError(
            "OUT",
            "must not be in use",
            got=f"{folder}, which another `{command}` is filling",
            fix="Wait for it or name another OUT.",
        ) from error


@contextmanager
def filled(out: Path, *, command: str) -> Iterator[None]:
    """Make a folder and hold it while it is filled; where it was made and nothing arrived, it goes again.

    Args:
        out: the folder.
        command: who fills it, for the message, such as `faceverif align`.

    Raises:
        InputError: it cannot be made, or another process holds it.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    make_folder(out)
    with locked(out, command=command):
        try:
            yield
        finally:
            if made and [path.name for path in out.iterdir()] == [LOCK_NAME]:
                (out / LOCK_NAME).unlink()
                for folder in made:
                    folder.rmdir()
