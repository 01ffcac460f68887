"""Whom the label of a packed photo names: somebody, nobody, or it is damaged.

An empty label names nobody. Taken as a name, it would make one person of all photos of strangers.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from data_prep.errors import is_printable

_LONGEST = 200  # characters
_NOBODY = re.compile(r"-\d+")


class Named(NamedTuple):
    """What a label says.

    Attributes:
        identity: None for nobody.
        refused: `damaged_label`, or None.
    """

    identity: str | None
    refused: str | None = None


NOBODY = Named(None)
DAMAGED = Named(None, "damaged_label")


def by_name(text: str) -> Named:
    """Whom a name names, which stays as it is."""
    if not text.strip():
        return NOBODY
    whole = is_printable(text) and "\ufffd" not in text and len(text) <= _LONGEST
    return Named(text) if whole else DAMAGED


def by_name_or_none(text: str) -> Named:
    """Whom a name names; -1 stands for nobody."""
    return NOBODY if _NOBODY.fullmatch(text.strip()) else by_name(text)


def by_label(text: str) -> Named:
    """Whom a class's number or name names: `7` is `000007`, and -1 stands for nobody."""
    label = text.strip()
    is_number = label.isdecimal() and len(label) < 10
    return by_name_or_none(f"{int(label):06d}" if is_number else label)
