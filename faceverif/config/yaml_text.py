"""YAML 1.2 as plain values, and plain values as YAML.

ruamel.yaml reads the syntax. The values are made here, by the core schema of YAML 1.2: `064` is 64, `1e-3` is
a number, `no` and `1:30` are text. The library's own constructors follow YAML 1.1 in part and have no limits.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.scanner import Scanner, ScannerError

from data_prep.text_encoding import encoding_of

# Far above any config, and low enough that whatever lies below is read within a second or two.
_MOST_CHARACTERS = 100_000
_MOST_VALUES = 100_000  # with what aliases repeat
_MOST_LEVELS = 50
_LONGEST_NUMBER = 100
_TOO_DEEP = f"more than {_MOST_LEVELS} levels of nesting"

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CANNOT_BEGIN = re.compile(r"found character '(.+)' that cannot start any token")
# What can only be the beginning of a collection or of quoted text.
_COLLECTION_OR_QUOTED = ("[", "{", '"', "'")


class YAMLProblem(ValueError):
    """Why a text is not the YAML that we read.

    Attributes:
        problem: one line.
        line: where, from 1; None where no line can be named.
    """

    def __init__(self, problem: str, line: int | None = None) -> None:
        self.problem, self.line = problem, line
        super().__init__(problem)


def read_yaml_file(path: Path) -> Any:
    """The one document in a file: mappings, lists, text, numbers, true, false and null.

    Raises:
        YAMLProblem: it is none, or larger than any config.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(4 * _MOST_CHARACTERS + 1)
    try:
        text = content.decode(encoding_of(content))
    except UnicodeDecodeError as error:
        if len(content) > 4 * _MOST_CHARACTERS:
            raise _too_long() from None
        line = content.count(b"\n", 0, error.start) + 1
        raise YAMLProblem("it must be text in UTF-8", line) from None
    return parse_yaml(text)


def parse_yaml(text: str) -> Any:
    """The one document in a text; see `read_yaml_file`."""
    return _parsed(text).value


def parse_setting(text: str) -> Any:
    """The value of a setting on the command line.

    A list, a mapping or quoted text is read as YAML. Everything else is one plain value to its end: a `#`
    begins no comment there, and a `:` no mapping.

    Raises:
        YAMLProblem: what begins as a list, a mapping or quoted text does not end as one.
    """
    text = text.strip()
    if not text.startswith(_COLLECTION_OR_QUOTED):
        return plain_value(text)
    document = _parsed(text)
    if document.end < len(text):
        raise YAMLProblem(f"{text[document.end :].strip()} is no part of the value")
    return document.value


def plain_value(text: str) -> Any:
    """The value of text without quotes, by YAML 1.2's core schema.

    Raises:
        YAMLProblem: a number of more digits than any setting has.
    """
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    whole = _INT.fullmatch(text)
    if whole is None and not _FLOAT.fullmatch(text):
        return _checked_text(text)
    if len(text) > _LONGEST_NUMBER:
        raise YAMLProblem(f"a number of {len(text):,} characters; {_LONGEST_NUMBER} are enough")
    if whole is None:
        return float(text)
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def yaml_text(settings: Any) -> str:
    """Plain values as YAML, which `parse_yaml` reads back as they are.

    Args:
        settings: mappings, in the order to be kept, lists, text, numbers, true, false and null.
    """
    written = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    yaml.width = 1_000_000  # text stays on its line
    yaml.dump(settings, written)
    return written.getvalue()


class _Representer(SafeRepresenter):
    """Writes no aliases, and quotes text that would be read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> ScalarNode:
        plain = data.isprintable() and isinstance(plain_value(data), str) if data else False
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if plain else '"')


_Representer.add_representer(str, _Representer.represent_text)


def _parsed(text: str) -> _Document:
    if len(text) > _MOST_CHARACTERS:
        raise _too_long()
    try:
        return _Document(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YAMLProblem(_in_plain_words(error), None if mark is None else mark.line + 1) from None
    except YAMLProblem:
        raise
    except YAMLError as error:
        raise YAMLProblem(" ".join(str(error).split())) from None
    except (ValueError, OverflowError):  # from `chr`, whose words depend on Python's version
        raise YAMLProblem(r"an escape \U must name a character, at most \U0010FFFF") from None


def _in_plain_words(error: MarkedYAMLError) -> str:
    problem = " ".join(str(error.problem or error.context).split())
    character = _CANNOT_BEGIN.fullmatch(problem)
    if character is None:
        return problem
    if character[1] == r"\t":
        return "a tab stands where YAML needs spaces"
    return f"text that begins with {character[1]} needs quotes"


def _too_long() -> YAMLProblem:
    return YAMLProblem(f"it has more than {_MOST_CHARACTERS:,} characters; a config has a few thousand")


def _checked_text(text: str) -> str:
    """Text that a path may hold and a file can store; JSON's pairs of escapes become their one character."""
    try:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise YAMLProblem("text must be Unicode") from None
    if "\0" in text:
        raise YAMLProblem("text must hold no NUL character")
    return text


class _Scanner(Scanner):
    """Stops early at nested brackets, since the time for each grows with their number."""

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:
        if self.flow_level >= _MOST_LEVELS:
            raise ScannerError(None, None, _TOO_DEEP, self.reader.get_mark())
        super().fetch_flow_collection_start(TokenClass, to_push)


class _Document:
    """Makes the value of a text from the parser's events, within limits.

    An alias gives the value that its anchor named. It is the same object, so an alias bomb takes no memory
    here; but later steps would walk through every repetition, so each is counted.

    Attributes:
        value: what is in the document; None where there is nothing.
        end: where in the text the value ends.
    """

    def __init__(self, text: str) -> None:
        yaml = YAML(typ="safe", pure=True)
        yaml.Scanner = _Scanner
        self._events: Iterator[Any] = iter(yaml.parse(text))
        self._anchored: dict[str, tuple[Any, int]] = {}  # value, and how many values it is
        self._count = 0
        self._event: Any = next(self._events)  # the stream begins
        self.value: Any = None
        if not isinstance(self._step(), StreamEndEvent):
            self.value = self._value(self._step(), level=0)
        self.end: int = self._event.end_mark.index
        while not isinstance(self._event, StreamEndEvent):
            if not isinstance(self._step(), DocumentEndEvent | StreamEndEvent):
                self._refuse("it must be one document; another begins here")

    def _step(self) -> Any:
        self._event = next(self._events)
        return self._event

    def _refuse(self, problem: str) -> Any:
        raise YAMLProblem(problem, self._event.start_mark.line + 1)

    def _value(self, event: Any, *, level: int) -> Any:
        if level > _MOST_LEVELS:
            self._refuse(_TOO_DEEP)
        if isinstance(event, AliasEvent):
            return self._aliased(event.anchor)
        before = self._count
        self._counted(1)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._refuse(f"the tag {tag} is not read here; leave it out, or put text in quotes")
        value = self._untagged(event, level)
        if event.anchor is not None:
            self._anchored[event.anchor] = value, self._count - before
        return value

    def _untagged(self, event: Any, level: int) -> Any:
        if isinstance(event, SequenceStartEvent):
            return self._sequence(level + 1)
        if isinstance(event, MappingStartEvent):
            return self._mapping(level + 1)
        return self._scalar(event)

    def _aliased(self, name: str) -> Any:
        if name not in self._anchored:
            self._refuse(f"*{name} must come after the whole of &{name}")
        value, size = self._anchored[name]
        self._counted(size)
        return value

    def _counted(self, values: int) -> None:
        self._count += values
        if self._count > _MOST_VALUES:
            self._refuse(f"more than {_MOST_VALUES:,} values, with those that aliases repeat")

    def _sequence(self, level: int) -> list[Any]:
        values = []
        while not isinstance(event := self._step(), SequenceEndEvent):
            values.append(self._value(event, level=level))
        return values

    def _mapping(self, level: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := self._step(), MappingEndEvent):
            key = self._key(event)
            if key in own:
                self._refuse(f"key {key} stands twice")
            value = self._value(self._step(), level=level)
            if key == "<<":
                merged |= self._merged(value)
            else:
                own[key] = value
        return merged | own

    def _key(self, event: Any) -> str:
        if not isinstance(event, ScalarEvent) or event.tag is not None or not event.value:
            self._refuse("a key must be a word; text that begins with { or [ needs quotes")
        return _checked_text(event.value)

    def _merged(self, value: Any) -> dict[str, Any]:
        """What `<<` adds to a mapping, which every other key in it outdoes."""
        mappings = value if isinstance(value, list) else [value]
        if not all(isinstance(each, dict) for each in mappings):
            self._refuse("<< must name a mapping")
        return {key: each[key] for each in reversed(mappings) for key in each}

    def _scalar(self, event: ScalarEvent) -> Any:
        try:
            return plain_value(event.value) if event.style in (None, "") else _checked_text(event.value)
        except YAMLProblem as error:
            return self._refuse(error.problem)
