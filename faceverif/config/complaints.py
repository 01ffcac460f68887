"""Pydantic's errors as one line for the user."""

from __future__ import annotations

import difflib
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from data_prep.errors import InputError
from faceverif.config.section import BROKEN_RULE, Section

# Characters of a value that a message repeats.
_LONGEST_SHOWN = 80


def as_input_error(error: ValidationError, *, model: type[Section], source: str) -> InputError:
    """The first of pydantic's complaints in one line, with the key path as the user wrote it."""
    # Unknown keys first: a key missed elsewhere is most often one of them, misspelt.
    errors = _without_consequences(error.errors(include_url=False))
    first, *others = sorted(errors, key=lambda each: each["type"] != "extra_forbidden")
    path, sections = _locate(first["loc"], model)
    more = f" ({len(others)} more after this one.)" if others else ""
    if first["type"] == "extra_forbidden":
        known = sorted({key for section in sections for key in section.model_fields})
        return InputError(
            path, f"is not a key of {source}", got=_short(first["input"]), fix=_suggest(path, known) + more
        )
    fix = f"Mend it in {source} or by --set.{more}"
    if first["type"] == "union_tag_invalid":
        name = first["input"]["name"]
        return InputError(
            f"{path}.name", f"must be one of {first['ctx']['expected_tags']}", got=name, fix=fix
        )
    if first["type"] == "union_tag_not_found":
        return InputError(f"{path}.name", "must be given", got="nothing", fix=fix)
    if first["type"] == BROKEN_RULE:
        broken = first["ctx"]
        key = ".".join(filter(None, (path, broken["key"])))
        return InputError(key, broken["rule"], got=broken["got"], fix=fix)
    got = "nothing" if first["type"] == "missing" else _short(first["input"])
    rule = first["msg"].removeprefix("Value error, ")
    return InputError(path or "config", rule[0].lower() + rule[1:], got=got, fix=fix)


def _without_consequences(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Pydantic calls a list too short as well whose entries are wrong: the entries say it."""
    places = [each["loc"] for each in errors]
    return [
        each
        for each in errors
        if each["type"] != "too_short"
        or not any(place[: len(each["loc"])] == each["loc"] != place for place in places)
    ]


def _short(value: object) -> object:
    """A value for a message, where a whole section would hide the rest."""
    return value if len(str(value)) <= _LONGEST_SHOWN else "what stands there now"


def _suggest(path: str, known: list[str]) -> str:
    parent, _, key = path.rpartition(".")
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f"Did you mean {parent + '.' if parent else ''}{close[0]}?"
    return f"Known here: {', '.join(known)}."


def _locate(location: tuple[int | str, ...], model: type[Section]) -> tuple[str, list[type[Section]]]:
    """Pydantic's location -> the key path, and the section(s) that the last key was looked for in.

    Pydantic puts the tag of a union into its locations (head, cosface, margin), which no user wrote.
    """
    path: list[str] = []
    sections: list[type[Section]] = [model]
    parents = sections
    for part in location:
        tagged = [section for section in sections if part in _tags(section)]
        if tagged and len(sections) > 1:
            sections = tagged
            continue
        path.append(str(part))
        parents = sections
        if isinstance(part, str):
            sections = [
                child
                for section in parents
                if part in section.model_fields
                for child in _sections_in(section.model_fields[part].annotation)
            ]
    return ".".join(path), parents


def _tags(section: type[Section]) -> tuple[Any, ...]:
    return get_args(section.model_fields["name"].annotation) if "name" in section.model_fields else ()


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for inner in get_args(annotation) for section in _sections_in(inner)]
