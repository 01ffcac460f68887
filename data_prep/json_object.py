"""JSON files that our commands wrote: an object, or one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
