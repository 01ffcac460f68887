"""How a config is read: the file, overrides, validation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from data_prep.errors import InputError, few
from faceverif.config.messages import as_input_error, short
from faceverif.config.paths import near_names
from faceverif.config.section import Section
from faceverif.config.shipped import near_shipped, shipped_in_place_of
from faceverif.config.yaml_text import YAMLProblem, parse_setting, read_yaml_file, yaml_text

Config = TypeVar("Config", bound=Section)
# Of keys in `--set`: no config has as many.
_MOST_LEVELS = 50


def load_config(model: type[Config], path: Path, overrides: list[str]) -> Config:
    """Read a YAML.

    Args:
        model: what it must be.
        path: the file.
        overrides: `a.b=c`, in the order given; list entries have their number as key. See `parse_setting`.

    Raises:
        InputError: no such file, not YAML, an unknown key, or a value that breaks a rule.
    """
    return validate_config(model, read_settings(path, overrides), source=str(path))


def read_settings(path: Path, overrides: list[str]) -> dict[str, Any]:
    """What `load_config` validates."""
    settings = read_yaml(path)
    for override in overrides:
        settings = override_settings(settings, override)
    return settings


def validate_config(
    model: type[Config], settings: dict[str, Any], *, source: str, written_at: Callable[[str], str] = str
) -> Config:
    """The config of plain settings.

    Args:
        model: what they must be.
        settings: nested mappings, as YAML gives them.
        source: where they come from, for the message.
        written_at: key path in `settings` -> the key path that the user wrote, where they differ.

    Raises:
        InputError: an unknown key, or a value that breaks a rule.
    """
    try:
        # As JSON, because strict types then still let a list be a tuple and a string a path.
        return model.model_validate_json(json.dumps(settings, default=str), strict=True)
    except ValidationError as error:
        raise as_input_error(error, model=model, source=source, written_at=written_at) from None


def config_text(config: Section) -> str:
    """A config as the YAML that `load_config` reads back."""
    return yaml_text(config.model_dump(mode="json"))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InputError: no such file, or no mapping in it.
    """
    path = shipped_in_place_of(path)
    _require_file(path)
    try:
        settings = read_yaml_file(path)
    except YAMLProblem as problem:
        place = path if problem.line is None else f"{path}, line {problem.line}"
        raise InputError("config", "must be valid YAML", got=place, fix=_sentence(problem)) from None
    except OSError as error:
        raise InputError(
            "config", "must be readable", got=path, fix=f"The system says: {error.strerror}."
        ) from None
    if not isinstance(settings, dict):
        fix = "Write a line for each key, as in head: {name: cosface}."
        raise InputError("config", "must be a mapping of keys", got=path, fix=fix)
    return settings


def _sentence(problem: YAMLProblem) -> str:
    return f"{problem.problem[:1].upper()}{problem.problem[1:]}."


def _require_file(path: Path) -> None:
    """Raises InputError with what its folder holds instead."""
    if path.is_file():
        return
    if path.is_dir():
        fix = _offer(path) or "It holds no *.yaml file."
        raise InputError("config", "must be a YAML file", got=f"the folder {path}", fix=fix)
    if path.exists():
        raise InputError("config", "must be a YAML file", got=f"{path}, which is no file", fix="Name a file.")
    near = near_names(path, pattern="*.yaml") or near_shipped(path) or _offer(path.parent)
    fix = near or "Check the name and the folder that you are in. `faceverif config list` names ours."
    raise InputError("config", "there is no such file", got=path, fix=fix)


def _offer(folder: Path) -> str:
    """The configs of a folder; empty where it holds none."""
    files = sorted(map(str, folder.glob("*.yaml")))
    return f"There is {few(files, most=6)}." if files else ""


def override_settings(settings: dict[str, Any], override: str) -> dict[str, Any]:
    """Settings with `a.b=c` carried out; whether the key means anything is for the models to say.

    Args:
        settings: stay as they are; the result is a copy.
        override: KEY=VALUE, where VALUE is YAML.

    Raises:
        InputError: it has another form, its value is empty or no YAML, or the key leads beyond a list or into
            a value.
    """
    path, equals, text = override.partition("=")
    shown = short(override)
    if not equals or not path:
        raise InputError("--set", "must be KEY=VALUE", got=shown, fix="Example: --set head.margin=0.4")
    if not text.strip():  # YAML's null, which would switch a key off without a word
        fix = f"Write {short(path)}=null to switch it off. Is a shell variable without a value?"
        raise InputError("--set", "the value must not be empty", got=shown, fix=fix)
    try:
        value = parse_setting(text)
    except YAMLProblem as problem:
        fix = f"{_sentence(problem)} Text needs quotes: --set '{short(path)}=\"TEXT\"'"
        raise InputError("--set", "the value must be YAML", got=shown, fix=fix) from None
    try:
        return _replaced(settings, path.split(".", _MOST_LEVELS), value)
    except KeyError as error:
        fix = f"There is no {short(error.args[0])} at that place."
        raise InputError("--set", "the key must exist", got=shown, fix=fix) from None


def _replaced(place: Any, keys: list[str], value: Any) -> Any:
    """A copy of nested settings with the value at `keys` replaced; sections left out so far are made."""
    if not keys:
        return value
    key, *rest = keys
    if isinstance(place, dict):
        child = {} if place.get(key) is None else place[key]
        return place | {key: _replaced(child, rest, value)}
    if isinstance(place, list) and key in map(str, range(len(place))):
        index = int(key)
        return [*place[:index], _replaced(place[index], rest, value), *place[index + 1 :]]
    raise KeyError(key)
