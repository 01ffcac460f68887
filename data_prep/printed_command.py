"""Commands that messages print, to be copied into a shell."""

from __future__ import annotations

import shlex


def printed_command(*words: object) -> str:
    """`faceverif` with these words; a path with spaces or the like is quoted for the shell."""
    return shlex.join(["faceverif", *map(str, words)])
