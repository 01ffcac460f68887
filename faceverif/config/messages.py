"""Pydantic's errors as one line for the user."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from data_prep.errors import InputError
from faceverif.config.section import BROKEN_RULE, Section, sections_in
from faceverif.config.yaml_text import YAMLProblem, plain_value

# Characters of a value that a message repeats.
_LONGEST_SHOWN = 80
# Pydantic's types of error, in the words of YAML.
_RULES = {
    "missing": "must be given",
    "dict_type": "must be a section of keys",
    "model_type": "must be a section of keys",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
}


def as_input_error(
    error: ValidationError, *, model: type[Section], source: str, written_at: Callable[[str], str]
) -> InputError:
    """The first of pydantic's errors in one line.

    Args:
        error: what pydantic says.
        model: what was validated.
        source: where the settings come from.
        written_at: key path in `model` -> the key path that the user wrote.
    """
    # Unknown keys first: a key that is missing elsewhere is most often one of them, misspelt.
    errors = sorted(
        _without_consequences(error.errors(include_url=False)),
        key=lambda each: each["type"] != "extra_forbidden",
    )
    first, more = errors[0], len(errors) - 1
    key, rule, got, advice = _explained(errors, model, source)
    others = f"There {'is' if more == 1 else 'are'} {more} more after this one." if more else ""
    fix = advice or f"Fix it in {source} or by --set."
    return InputError(
        written_at(key) or "config",
        rule,
        got=short(first["input"] if got is None else got),
        fix=f"{fix} {others}".strip(),
    )


def _explained(
    errors: Sequence[ErrorDetails], model: type[Section], source: str
) -> tuple[str, str, object, str]:
    """Of the first error: key path, rule, what is there if not pydantic's input, advice (may be empty)."""
    first = errors[0]
    key, sections = _locate(first["loc"], model)
    kind = first["type"]
    if kind == "extra_forbidden":
        return key, *_unknown_key(key, errors, model, sections, source)
    if kind == "union_tag_invalid":
        name, known = first["input"]["name"], first["ctx"]["expected_tags"]
        return f"{key}.name", f"must be one of {known}", name, _close_to(str(name), known)
    if kind == "literal_error":
        known, value = first["ctx"]["expected"], first["input"]
        return key, f"must be one of {known}", None, _close_to(str(value), known)
    if kind == "union_tag_not_found":
        return f"{key}.name", _RULES["missing"], "nothing", ""
    if kind == BROKEN_RULE:
        broken = first["ctx"]
        return ".".join(filter(None, (key, broken["key"]))), broken["rule"], broken["got"], ""
    if kind == "missing":
        return key, _RULES[kind], "nothing", _example(key.rpartition(".")[2], sections)
    said = first["msg"].removeprefix("Value error, ")
    advice = _advice(kind, first["input"]) or _as_section(first["input"], key, sections)
    return key, _RULES.get(kind, said[:1].lower() + said[1:]), None, advice


def _example(key: str, parents: Sequence[type[Section]]) -> str:
    """A section that is missing, as it may be written: the choice with the fewest required keys.

    Args:
        key: its name.
        parents: the sections that it may stand in.

    Returns:
        A sentence; empty for a key that is no section.
    """
    sections = _children(key, parents)
    if not sections:
        return ""
    written = [_required_keys(section) for section in sections]
    shortest = min(written, key=len)
    example = f"Example: {key}: {{{', '.join(shortest)}}}"
    explained = any(each.endswith("...") for each in shortest) or len(written) > 1
    return example + (f" (`faceverif config keys {key}` explains the keys)." if explained else ".")


def _as_section(value: object, key: str, parents: Sequence[type[Section]]) -> str:
    """How to write a section of which only the name stands there, as in `head: arcface`; else empty."""
    # The entries of a list are their own parents.
    here = _children(key.rpartition(".")[2], parents) or parents
    meant = [section for section in here if value in _tags(section)]
    return f"Write {_whole(key, meant[0])}." if meant else ""


def _whole(key: str, section: type[Section]) -> str:
    """A section with the keys that it needs, as --set takes it; --set takes no entry of a list."""
    written = f"{{{', '.join(_required_keys(section))}}}"
    return written if key.rpartition(".")[2].isdigit() else f"--set '{key}={written}'"


def _children(key: str, parents: Sequence[type[Section]]) -> list[type[Section]]:
    """The sections that may stand at a key of one of some sections; none at a key that is no section."""
    fields = [parent.model_fields[key] for parent in parents if key in parent.model_fields]
    return [section for field in fields for section in sections_in(field.annotation)]


def _required_keys(section: type[Section]) -> list[str]:
    """`name: cosine` first, and `learning_rate: ...` for a key whose value only the user knows."""
    tags = _tags(section)
    needed = [name for name, field in section.model_fields.items() if field.is_required()]
    required = sorted(needed, key=lambda key: key != "name")
    return [f"name: {tags[0]}" if name == "name" and tags else f"{name}: ..." for name in required]


def _unknown_key(
    path: str,
    errors: Sequence[ErrorDetails],
    model: type[Section],
    sections: Sequence[type[Section]],
    source: str,
) -> tuple[str, object, str]:
    """Rule, what is there, advice; where a name chose the section, with its keys and those not its own."""
    parent, _, key = path.rpartition(".")
    known = sorted({name for section in sections for name in section.model_fields})
    close = difflib.get_close_matches(key, known, n=1)
    name = _chosen_by(errors[0]["loc"], sections)
    advice = [f"Did you mean {'.'.join(filter(None, (parent, close[0])))}?"] if close else []
    if name or not close:
        advice.append(f"Known here: {', '.join(known)}.")
    unknown = [_locate(each["loc"], model)[0] for each in errors if each["type"] == "extra_forbidden"]
    alien = [each.rpartition(".")[2] for each in unknown if each.rpartition(".")[0] == parent]
    if name and len(alien) > 1:
        advice.append(f"Not known: {', '.join(alien)}.")
    if name and _of_another_name(errors[0]["loc"], model):
        advice.append(f"{_whole(parent, sections[0])} replaces the whole section.")
    return f"is not a key of {f'{parent} {name} in ' if name else ''}{source}", None, " ".join(advice)


def _chosen_by(location: tuple[int | str, ...], sections: Sequence[type[Section]]) -> str:
    """The name that chose the section; empty where nothing had to be chosen."""
    chosen = location[-2] if len(location) > 1 else ""
    return str(chosen) if len(sections) == 1 and chosen in _tags(sections[0]) else ""


def _of_another_name(location: tuple[int | str, ...], model: type[Section]) -> bool:
    """Whether the last key is one of the same section under another name: it stayed when the name changed."""
    *parents, _, key = location
    return any(key in section.model_fields for section in _locate((*parents, key), model)[1])


def _close_to(name: str, known: str) -> str:
    """The name that may have been meant, of pydantic's list of them in quotes."""
    close = difflib.get_close_matches(name, re.findall(r"'([^']*)'", known), n=1)
    return f"Did you mean {close[0]}?" if close else ""


def _advice(kind: str, value: object) -> str:
    """What helps where YAML reads a value as something else than the user thinks; empty: nothing special."""
    if kind == "string_type" and not isinstance(value, dict | list):
        if value is None:
            return "YAML reads ~ and null as no value: put them in quotes where they are text."
        if isinstance(value, bool):
            return (
                f'YAML reads it as true or false: put it in quotes where it is text, as in "{_plain(value)}".'
            )
        # Not with the value: of `007` and `1e5` only the number is left.
        return 'YAML reads it as a number: put what you wrote in quotes where it is text, as in "123".'
    if kind == "bool_type" and str(value).lower() in ("yes", "no", "on", "off", "y", "n"):
        return "YAML 1.2 reads only true and false so, without quotes."
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"Write {value:.0f}."
    if kind in ("int_type", "float_type") and isinstance(value, str) and _is_number(value):
        return "In quotes it is text: leave them out."
    if kind in ("int_type", "float_type") and "_" in str(value):
        return f"Write {str(value).replace('_', '')}."
    return ""


def _is_number(text: str) -> bool:
    try:
        return isinstance(plain_value(text), int | float) and text not in ("true", "false")
    except YAMLProblem:
        return False


def _without_consequences(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Pydantic also reports `too_short` for a list whose entries failed: the entries' own errors say more."""
    places = [each["loc"] for each in errors]
    return [
        each
        for each in errors
        if each["type"] != "too_short"
        or not any(place[: len(each["loc"])] == each["loc"] != place for place in places)
    ]


def _plain(value: object) -> str:
    """A value as YAML writes it."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def short(value: object) -> str:
    """A value for a message, without the rest of what is long."""
    text = _plain(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 4]} ..."


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
            sections = _children(part, parents)
    return ".".join(path), parents


def _tags(section: type[Section]) -> tuple[Any, ...]:
    return get_args(section.model_fields["name"].annotation) if "name" in section.model_fields else ()
