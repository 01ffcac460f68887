"""How the names of lists, sets of photos and columns are compared, whatever their spelling."""

from __future__ import annotations

import re


def letters(name: str) -> str:
    """A name by its letters and digits alone, so that `agedb_30` and `AgeDB-30` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
