"""JSON files that our commands write and read: an object, or one clear error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.atomic import write_text
from data_prep.errors import InputError


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where no such file is there yet.

    Raises:
        InputError: something else is in it.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # of the decoding and of the parsing alike
        found = None
    if not isinstance(found, dict):
        fix = "Remove it, and run the command that wrote it again."
        raise InputError(path.name, "must hold a JSON object", got=path, fix=fix)
    return found


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object, indented for people; see `write_text` for what happens to a file that is there."""
    write_text(path, json.dumps(content, indent=2) + "\n")
