"""Files whose readers raise errors of any type: whatever is wrong with one is a clear error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_prep.errors import InputError, first_line
from data_prep.system_errors import system_trouble


@contextmanager
def read_guarded(field: str, rule: str, *, got: object, fix: str) -> Iterator[None]:
    """Turn what a damaged file makes a block raise into an `InputError`.

    Parsers and decompressors raise errors of any type on damaged bytes, and the checks that follow them
    expect the types that were written. An `InputError` from the block passes through, and so does what the
    system refuses (rights, memory, space): the file may be whole. A folder in the file's place is damage.

    Args:
        field: what is wrong, in the user's words.
        rule: what the file must be.
        got: the file.
        fix: the way out, as an instruction.

    Raises:
        InputError: the block raised.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if system_trouble(error) is not None and not isinstance(error, IsADirectoryError):
            raise
        reason = f"{type(error).__name__}: {first_line(error)}"[:200]
        raise InputError(field, rule, got=f"{got} ({reason})", fix=fix) from error


def user_cache(kind: str) -> Path:
    """The folder in the user's cache for one kind of file, which need not exist yet."""
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    return Path(os.path.expanduser(home)) / "faceverif" / kind
