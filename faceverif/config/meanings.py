"""What each key of a section means, from the section's docstring: the one place where it is written."""

from __future__ import annotations

import re
from inspect import cleandoc
from typing import Any

_ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.*)$")
_CONTINUED = re.compile(r"^        (\S.*)$")


def summary_of(section: type) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join(cleandoc(section.__doc__ or "").partition("\n\n")[0].split())


def meanings_of(section: type) -> dict[str, str]:
    """Key -> what its docstring, or that of a class above it, says of the key under `Attributes:`."""
    found: dict[str, str] = {}
    for part in reversed(section.__mro__):
        found |= _entries(part.__doc__ or "")
    return found


def with_meanings(schema: dict[str, Any], section: type) -> None:
    """Complete pydantic's JSON schema of a section: plain descriptions, no titles made of names."""
    schema["description"] = summary_of(section)
    meanings = meanings_of(section)
    for key, about in schema.get("properties", {}).items():
        about.pop("title", None)
        if key in meanings:
            about["description"] = meanings[key]


def _entries(docstring: str) -> dict[str, str]:
    """The entries of `Attributes:`; one entry may name several keys."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in cleandoc(docstring).partition("Attributes:\n")[2].splitlines():
        if opening := _ENTRY.match(line):
            names = opening[1].split(", ")
            found |= dict.fromkeys(names, opening[2])
        elif more := _CONTINUED.match(line):
            found |= {name: f"{found[name]} {more[1]}" for name in names}
    return found
