"""What all config models share."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from faceverif.config.meanings import with_meanings

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # as scikit-learn takes it

BROKEN_RULE = "broken_rule"


class Change(Enum):
    """How a key may differ when a run continues; it stands in the key's annotation, all others must agree.

    FREE: no number depends on it. It says where things lie, or how often is looked.
    LATER: the steps made so far do not depend on it, but the result does.
    """

    FREE = "free"
    LATER = "later"


def broken_rule(key: str, rule: str, *, got: object) -> PydanticCustomError:
    """What a validator raises where one key must fit others.

    Args:
        key: path of the key to fix, from the section that the validator belongs to.
        rule: what it must be.
        got: its value.
    """
    return PydanticCustomError(BROKEN_RULE, "{rule}", {"key": key, "rule": rule, "got": got})


class Section(BaseModel):
    """A part of the YAML: unknown keys are errors, and nothing changes after reading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, json_schema_extra=staticmethod(with_meanings)
    )


def may_change(model: type[Section], *kinds: Change) -> set[str]:
    """Key paths whose values may differ when a run of that config continues.

    Args:
        model: the config.
        kinds: of change; none: any.
    """
    found = set()
    for name, field in model.model_fields.items():
        if any(mark in (kinds or Change) for mark in field.metadata if isinstance(mark, Change)):
            found.add(name)
        for section in sections_in(field.annotation):
            found |= {f"{name}.{key}" for key in may_change(section, *kinds)}
    return found


def sections_in(annotation: Any) -> list[type[Section]]:
    """The sections that a key's type is made of: one, the members of a union, or the entries of a list."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for inner in get_args(annotation) for section in sections_in(inner)]


def changed_settings(then: dict[str, Any], now: dict[str, Any], *, may_change: Collection[str]) -> str:
    """What differs between two configs, as `a.b.0 old -> new, ...`; empty where nothing does.

    Args:
        then: the older one, as plain values.
        now: the newer one, as plain values.
        may_change: key paths that are left out, with all below them.
    """
    old, new = (flat_settings(settings, may_change) for settings in (then, now))
    differing = sorted(key for key in old | new if old.get(key) != new.get(key))
    return ", ".join(f"{key} {old.get(key)} -> {new.get(key)}" for key in differing)


def flat_settings(settings: Any, left_out: Collection[str] = (), path: str = "") -> dict[str, Any]:
    """Nested settings as {"a.b.0": c}.

    Args:
        settings: plain values.
        left_out: key paths to leave out, with all below them.
        path: of `settings` itself.
    """
    if path in left_out:
        return {}
    if isinstance(settings, dict) and settings:
        children = [(f"{path}.{key}".lstrip("."), value) for key, value in settings.items()]
    elif isinstance(settings, list) and settings:
        children = [(f"{path}.{number}", value) for number, value in enumerate(settings)]
    else:
        return {path: settings}
    return {
        key: leaf for child, value in children for key, leaf in flat_settings(value, left_out, child).items()
    }


def leaves(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Key path and value of all that is no mapping itself, as in head.margin; a list is one value."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield path + key, value


def merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested settings with changes laid over them.

    A section whose `name` changes is replaced whole: its other keys belong to what the old name stood for.
    """
    if "name" in changes and changes["name"] != settings.get("name"):
        return dict(changes)
    return settings | {
        key: merged(settings[key], value)
        if isinstance(value, dict) and isinstance(settings.get(key), dict)
        else value
        for key, value in changes.items()
    }
