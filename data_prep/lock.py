"""One process at a time in a folder; the system lets go when it ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

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
