"""The reference of a config, from its JSON schema: sections, and type, default and meaning of every key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from faceverif.config.section import Section

Schema = dict[str, Any]
_LARGE = 2**31  # a bound that only keeps numbers representable is not worth a word
_KINDS = {"integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}


@dataclass(frozen=True)
class Key:
    """A key of a section, in words.

    Attributes:
        name: of the key.
        kind: its type and bounds.
        default: its value where it is left out; empty: it must be written.
        meaning: what it is.
    """

    name: str
    kind: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Part:
    """A section, or a choice between several.

    Attributes:
        path: its key path in the config; a chosen section's name comes last, as in `head.cosface`.
        meaning: its first sentence.
        keys: of the section; empty where it is a choice.
        choices: names of sections, each with its meaning; empty where it is a section.
        schema: its own.
    """

    path: str
    meaning: str
    keys: tuple[Key, ...]
    choices: tuple[tuple[str, str], ...]
    schema: Schema


def json_schema(model: type[Section], *, title: str) -> Schema:
    """The JSON schema of a config, for editors: every key with its meaning."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model.model_json_schema(),
        "title": title,
    }


def parts_of(model: type[Section]) -> Iterator[Part]:
    """The config itself, then every section below it in the order of the keys."""
    schema = model.model_json_schema()
    yield from _parts(schema, schema["$defs"], path="", meaning="")


def _parts(schema: Schema, known: dict[str, Schema], *, path: str, meaning: str) -> Iterator[Part]:
    about = _resolved(schema, known)
    if "discriminator" in about:
        named = {name: _resolved({"$ref": place}, known) for name, place in _in_order(about, known)}
        choices = tuple((name, section["description"]) for name, section in named.items())
        yield Part(path, meaning, (), choices, about)
        for name, section in named.items():
            yield from _parts(section, known, path=f"{path}.{name}", meaning="")
        return
    properties = about.get("properties", {})
    # A name without a meaning only says which section of a choice it is.
    shown = {name: key for name, key in properties.items() if name != "name" or "description" in key}
    keys = tuple(_key(name, key, about, known) for name, key in shown.items())
    yield Part(path, about.get("description", meaning), keys, (), about)
    for name, key in properties.items():
        if (below := _section_of(key, known)) is not None:
            place = f"{path}.{name}".lstrip(".")
            yield from _parts(below, known, path=place, meaning=key.get("description", ""))


def _in_order(union: Schema, known: dict[str, Schema]) -> list[tuple[str, str]]:
    """Names and places of a union's members, in the order in which the code lists them."""
    order = [member["$ref"] for member in union["oneOf"]]
    return sorted(union["discriminator"]["mapping"].items(), key=lambda item: order.index(item[1]))


def _resolved(schema: Schema, known: dict[str, Schema]) -> Schema:
    return known[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _section_of(key: Schema, known: dict[str, Schema]) -> Schema | None:
    """The section, or the choice of sections, that a key holds, once or as a list; null: plain values."""
    if "discriminator" in key or ("$ref" in key and "properties" in _resolved(key, known)):
        return key
    for inner in (*key.get("anyOf", ()), key.get("items"), key.get("additionalProperties")):
        if isinstance(inner, dict) and (found := _section_of(inner, known)) is not None:
            return found
    return None


def _key(name: str, key: Schema, section: Schema, known: dict[str, Schema]) -> Key:
    required = name in section.get("required", ())
    return Key(name, _kind(key, known), "" if required else _default(key), key.get("description", ""))


def _default(key: Schema) -> str:
    value = key.get("default", {})  # pydantic leaves out what a function makes: an empty mapping
    if isinstance(value, dict) and value:
        return f"{{name: {value['name']}}}" if "name" in value else "all defaults"
    return value if isinstance(value, str) and value else json.dumps(value)


def _kind(key: Schema, known: dict[str, Schema]) -> str:
    """Type and bounds in words."""
    if "anyOf" in key:
        return " or ".join(_kind(inner, known) for inner in key["anyOf"])
    if _section_of(key, known) is key:
        return "section"
    if "enum" in key or "const" in key:
        return "one of " + ", ".join(map(str, key.get("enum", [key.get("const")])))
    if key.get("type") == "array":
        return _list_kind(key, known)
    if key.get("type") == "object":
        inner = key.get("additionalProperties")
        return f"mapping of {_plural(_kind(inner, known))}" if isinstance(inner, dict) else "mapping"
    if key.get("type") == "string":
        return "path" if key.get("format") == "path" else "text"
    return " ".join(filter(None, [_KINDS[key["type"]], _bounds(key)]))


def _list_kind(key: Schema, known: dict[str, Schema]) -> str:
    if "prefixItems" in key:
        return f"{len(key['prefixItems'])} x {_kind(key['prefixItems'][0], known)}"
    at_least = f", at least {key['minItems']}" if key.get("minItems") else ""
    return f"list of {_plural(_kind(key['items'], known))}{at_least}"


def _plural(kind: str) -> str:
    of_each = re.sub(r"^one of\b", "any of", kind)
    return re.sub(r"^(whole number|number|section|path|mapping)\b", r"\1s", of_each)


def _bounds(key: Schema) -> str:
    low, high = key.get("minimum"), key.get("maximum")
    above, below = key.get("exclusiveMinimum"), key.get("exclusiveMaximum")
    below = below if below is not None and below < _LARGE else None
    if low is not None and high is not None:
        words = [f"from {low:g} to {high:g}"]
    elif above is not None and below is not None:
        words = [f"between {above:g} and {below:g}"]
    else:
        signs = (">=", low), (">", above), ("<=", high), ("<", below)
        words = [" and ".join(f"{sign} {bound:g}" for sign, bound in signs if bound is not None)]
    if "multipleOf" in key:
        words.append(f"in steps of {key['multipleOf']:g}")
    return ", ".join(filter(None, words))
