"""Names from a file must stay in their folder: no `..`, no absolute path, no drive letter, no link out."""

from __future__ import annotations

import re
from pathlib import Path

from data_prep.errors import InputError

# Backslashes count on every system: a list that is harmless here may not be on Windows. But names that
# are no UTF-8 are written `\xff`, so one that begins `\x` is let through, and so is `V: The Artist`, which
# people call a folder and nobody a drive. RE2 syntax: pyarrow reads it too.
LEAVES_FOLDER = r"^/|^\\([^x]|$)|^[A-Za-z]:([^ ]|$)|(^|[\\/])\.\.([\\/]|$)|\x00"

_leaves_folder = re.compile(LEAVES_FOLDER)


def refuse_name_outside(name: str, *, field: str) -> str:
    """The name, when it stays below the folder that it is joined to.

    Args:
        name: a relative path with forward slashes, as a list, an archive or a manifest gives it.
        field: which file and line it came from, for the message.

    Raises:
        InputError: it could lead out of the folder.
    """
    if _leaves_folder.search(name):
        raise InputError(
            field,
            "a photo's name must stay inside its folder",
            got=repr(name[:200]),
            fix="Write names relative to the folder, without `..`; do not trust a file that came like this.",
        )
    return name


def refuse_link_outside(path: Path, folder: Path) -> None:
    """Stop where a link leads out of the folder; a circle of links ends nowhere, and may stay.

    Args:
        path: a file below `folder`.
        folder: resolved already, with `Path.resolve`.

    Raises:
        InputError: a link on the way leaves the folder.
    """
    try:
        target = path.resolve()
    except RuntimeError:  # a circle, until Python 3.13: reading it gives the reason
        return
    if not target.is_relative_to(folder):
        raise InputError(
            str(path),
            "must not be a link that leaves its folder",
            got=f"a link to {target}",
            fix="Put the photo itself there.",
        )
