"""How a config is read: YAML, overrides, validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from data_prep.errors import InputError
from faceverif.config.complaints import as_input_error
from faceverif.config.section import Section

Config = TypeVar("Config", bound=Section)


def load_config(model: type[Config], path: Path, overrides: list[str]) -> Config:
    """Read a YAML.

    Args:
        model: what it must be.
        path: the file.
        overrides: `a.b=c`, in the order given; the value is read as YAML, list entries go by number.

    Raises:
        InputError: no such file, not YAML, an unknown key, or a value that breaks a rule.
    """
    settings = read_yaml(path)
    for override in overrides:
        settings = override_settings(settings, override)
    return validate_config(model, settings, source=str(path))


def validate_config(model: type[Config], settings: dict[str, Any], *, source: str) -> Config:
    """The config of plain settings.

    Args:
        model: what they must be.
        settings: nested mappings, as YAML gives them.
        source: where they come from, for the message.

    Raises:
        InputError: an unknown key, or a value that breaks a rule.
    """
    try:
        # As JSON, because strict types then still let a list be a tuple and a string a path.
        return model.model_validate_json(json.dumps(settings, default=str), strict=True)
    except ValidationError as error:
        raise as_input_error(error, model=model, source=source) from None


class _Loader(yaml.SafeLoader):
    """YAML where `5e-4` is a number, which PyYAML takes for text, and a key that stands twice an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """PyYAML keeps the last of two equal keys, and says nothing."""
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if len(set(keys)) < len(keys):
            twice = next(key for place, key in enumerate(keys) if key in keys[:place])
            raise yaml.constructor.ConstructorError(None, None, f"key {twice} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InputError: no such file, or no mapping in it.
    """
    if not path.is_file():
        raise InputError("config", "must be a YAML file", got=path, fix="configs/ holds examples.")
    try:
        settings = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise InputError(
            "config", "must be valid YAML", got=path, fix=f"The parser says: {problem}"
        ) from None
    if not isinstance(settings, dict):
        raise InputError("config", "must be a mapping of keys", got=path, fix="configs/ holds examples.")
    return settings


def override_settings(settings: dict[str, Any], override: str) -> dict[str, Any]:
    """Settings with `a.b=c` carried out; whether the key means anything is for the models to say."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise InputError("--set", "must be KEY=VALUE", got=override, fix="Example: --set head.margin=0.4")
    try:
        return _replaced(settings, path.split("."), yaml.load(text, Loader=_Loader))
    except yaml.YAMLError:
        raise InputError("--set", "the value must be YAML", got=override, fix="Put it in quotes.") from None
    except KeyError as error:
        raise InputError(
            "--set", "the key must exist", got=override, fix=f"There is no {error.args[0]} at that place."
        ) from None


def _replaced(place: Any, keys: list[str], value: Any) -> Any:
    """A copy of nested settings with the value at `keys` replaced; sections left out so far are made."""
    if not keys:
        return value
    key, *rest = keys
    if isinstance(place, dict):
        child = {} if place.get(key) is None else place[key]
        return place | {key: _replaced(child, rest, value)}
    if isinstance(place, list) and key.isdigit() and int(key) < len(place):
        index = int(key)
        return [*place[:index], _replaced(place[index], rest, value), *place[index + 1 :]]
    raise KeyError(key)
