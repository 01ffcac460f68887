"""Paths that a config or a command line names must exist; that is checked before anything heavy loads.

A field of a section says by its type that its path must exist: `InputPath`, `AlignedPath`, `RunPath` or
`ImportedPath`.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator

from data_prep.errors import InputError
from data_prep.storage import address_of, files_at
from faceverif.config.section import Section, broken_rule
from faceverif.file_names import CONFIG_NAME

ALIKE = 0.75  # difflib's ratio, from which one name is probably a misspelling of the other


@dataclass(frozen=True)
class MustExist:
    """Marks the type of a field.

    Attributes:
        made_by: the command that makes what lies there; empty: no command of ours.
        unless: a true or false key beside it; where that is true, the path may be missing.
        advice: an attribute of its section that says how to come by what should lie there; empty: none does.
    """

    made_by: str = ""
    unless: str = ""
    advice: str = ""


def _not_empty(value: Any) -> Any:
    """Empty text would be the folder that the user is in."""
    if value == "":
        raise broken_rule("", "must be a path, not empty text", got='""')
    return value


_GivenPath = Annotated[Path, BeforeValidator(_not_empty)]
InputPath = Annotated[_GivenPath, MustExist()]
AlignedPath = Annotated[_GivenPath, MustExist("faceverif align")]
RunPath = Annotated[_GivenPath, MustExist("faceverif train`, `faceverif fit-head` or `faceverif import")]
ImportedPath = Annotated[_GivenPath, MustExist("faceverif import")]


def require_path(path: Path, *, field: str, made_by: str = "", advice: str = "") -> None:
    """Stop where nothing lies.

    Args:
        path: of a file or a folder.
        field: what the user named it with.
        made_by: the command that makes what should lie there.
        advice: how to come by it otherwise.

    Raises:
        InputError: with names in its folder that look like it, with the command or with the advice.
    """
    if address_of(path) is not None:
        if made_by != "faceverif align":
            rule = "must lie on this machine; only aligned crops are read from a storage"
            raise InputError(field, rule, got=path, fix="Copy it here, and name the copy.")
        files_at(path, field=field)
        return
    try:
        there = path.exists()
    except (OSError, ValueError):  # a name too long, or with a NUL
        there = False
    if there:
        return
    made = f"`{made_by}` makes it.{_where_paths_begin(path)}" if made_by else ""
    fix = near_names(path) or made or f"Check the path, and the folder that you are in. {advice}".strip()
    if str(path).startswith(("~", "$")):
        fix = "A shell replaces ~ and $NAME, but not in quotes or configs: write the whole path."
    raise InputError(field, "there is no such file or folder", got=path, fix=fix)


def _where_paths_begin(path: Path) -> str:
    """Where a path is looked for: a config, too, may lie in another folder than its reader is in."""
    return "" if path.is_absolute() else f" Paths begin in the folder that you are in, {Path.cwd()}."


def near_names(path: Path, *, pattern: str = "*") -> str:
    """A sentence with the names in a path's folder that look like it; empty where none does."""
    try:
        names = sorted(entry.name for entry in path.parent.glob(pattern))
    except (OSError, ValueError):
        return ""
    close = difflib.get_close_matches(path.name, names, cutoff=ALIKE)
    return f"There is {', '.join(str(path.with_name(name)) for name in close)}." if close else ""


def how_to_finish(run: Path, command: str) -> str:
    """Advice for a folder that is no finished run: the command that finishes it, where its config tells.

    Args:
        run: the folder.
        command: what makes such runs, as in `faceverif train`.
    """
    config = run / CONFIG_NAME
    if config.is_file():
        return f"Run: {command} {shlex.join([str(config), '--run', str(run)])}"
    return f"Name a folder that `{command}` filled."


def refuse_missing_paths(config: Section) -> None:
    """Stop where a path that a config names must exist and does not.

    Raises:
        InputError: with the key path.
    """
    for key, path, mark in paths_to_exist(config):
        require_path(path, field=key, made_by=mark.made_by, advice=mark.advice)


def paths_to_exist(
    value: Any, key: str = "", mark: MustExist | None = None
) -> Iterator[tuple[str, Path, MustExist]]:
    """Key path, path and mark, with its advice as a sentence, of every path that must exist."""
    if isinstance(value, Section):
        for name, field in type(value).model_fields.items():
            found = _mark_in([*field.metadata, field.annotation])
            if found is not None and getattr(value, found.unless, False):
                continue
            if found is not None and found.advice:
                found = replace(found, advice=getattr(value, found.advice))
            yield from paths_to_exist(getattr(value, name), f"{key}.{name}".lstrip("."), found)
    elif isinstance(value, tuple):
        for number, entry in enumerate(value):
            yield from paths_to_exist(entry, f"{key}.{number}", mark)
    elif isinstance(value, Path) and mark is not None:
        yield key, value, mark


def _mark_in(annotations: Any) -> MustExist | None:
    """The mark in a field's type, however deep: `RunPath | None`, `tuple[RunPath, ...]`."""
    for annotation in annotations:
        if isinstance(annotation, MustExist):
            return annotation
        inner = getattr(annotation, "__metadata__", ()) + get_args(annotation)
        if inner and (found := _mark_in(inner)) is not None:
            return found
    return None
