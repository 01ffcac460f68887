"""Pair lists of every origin -> one `VerificationProtocol`; a new format is a file here and a line below."""

from __future__ import annotations

from pathlib import Path

from data_prep.errors import InputError
from data_prep.protocols import lfw, pairs_csv
from data_prep.protocols.base import PairFormat, VerificationProtocol, read_lines
from data_prep.protocols.matching import find_rows

__all__ = ["FORMATS", "VerificationProtocol", "find_rows", "load_protocol"]

FORMATS: tuple[PairFormat, ...] = (lfw.FORMAT, pairs_csv.FORMAT)


def load_protocol(path: Path) -> VerificationProtocol:
    """Read a pair file of any known format, told by its first line.

    Raises:
        InputError: no such file, an unknown format, or a line that breaks it.
    """
    first_line = read_lines(path)[0]
    for known in FORMATS:
        if known.recognises(first_line):
            return known.load(path)
    raise InputError(
        str(path),
        f"must be one of: {'; '.join(known.description for known in FORMATS)}",
        got=f"first line {first_line[:80]!r}",
        fix="Convert the list to a CSV that opens with left,right,same.",
    )
