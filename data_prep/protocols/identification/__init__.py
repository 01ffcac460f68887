"""Galleries and probes in any known form -> one `IdentificationProtocol`. A form is a file and a line."""

from __future__ import annotations

from pathlib import Path

from data_prep.errors import InputError
from data_prep.protocols.identification import photo_table, tinyface
from data_prep.protocols.identification.base import (
    IdentificationFormat,
    IdentificationProtocol,
    refuse_repeated,
    refuse_shared,
)
from data_prep.protocols.identification.photo_table import load_lists

__all__ = ["IdentificationProtocol", "load_identification", "load_lists", "refuse_repeated", "refuse_shared"]

FORMATS: tuple[IdentificationFormat, ...] = (photo_table.FORMAT, tinyface.FORMAT)


def load_identification(folder: Path) -> IdentificationProtocol:
    """Read the lists in a folder of any known form.

    Raises:
        InputError: no such folder, an unknown form, or lists that are broken.
    """
    for known in FORMATS:
        if known.recognises(folder):
            return known.load(folder)
    raise InputError(
        "--protocol",
        f"must be {' or '.join(known.description for known in FORMATS)}",
        got=folder,
        fix="Name the folder that holds the lists, or give them as --gallery and --probes.",
    )
