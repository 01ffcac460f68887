"""Lists of millions of lines, fields separated by one space, as columns; an error names the line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from data_prep.errors import InputError

_LONGEST_LINE = 4096  # bytes
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FORMS = {pa.string(): rb"\S+", pa.int64(): rb"\d{1,18}", pa.float64(): rb"\S+"}


def read_fields(path: Path, columns: Mapping[str, pa.DataType], *, rule: str) -> pa.Table:
    """A list as a table; blank lines do not count.

    Args:
        path: the list.
        columns: name -> string, int64 or float64, in the order of the fields.
        rule: what a line must be, for the message.

    Raises:
        InputError: no such file, nothing in it, or a line that breaks the rule, which is named.
    """
    if not path.is_file():
        raise InputError(
            str(path), "must be there, beside the other lists", got="no such file", fix="Copy it there."
        )
    try:
        return csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=list(columns)),
            parse_options=csv.ParseOptions(delimiter=" ", quote_char=False),
            convert_options=csv.ConvertOptions(
                column_types=dict(columns), null_values=[], strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _broken(path, columns, rule, reason=str(error)) from error


def broken_row(path: Path, row: int, *, rule: str, got: str | None = None) -> InputError:
    """The error for a row of the table whose values break a rule: names its line in the file.

    Args:
        path: the list.
        row: of the table.
        rule: what the line must be.
        got: what it says instead; None: the line itself.
    """
    # As text, because its lines then end as those of the table do, by CR too.
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        rows = (pair for pair in enumerate(file, 1) if pair[1].strip("\n"))
        number, line = next(pair for place, pair in enumerate(rows) if place == row)
    return _unfit(path, number, rule, got or _shown(line))


def _broken(path: Path, columns: Mapping[str, pa.DataType], rule: str, *, reason: str) -> InputError:
    """Look for the first line that breaks the form: only one that does is worth a second, slower look."""
    form = re.compile(b" ".join(_FORMS[kind] for kind in columns.values()))
    numbers = [place for place, kind in enumerate(columns.values()) if kind == pa.float64()]
    number = 0
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_LINE):
            number += 1
            content = line.removeprefix(_BYTE_ORDER_MARK if number == 1 else b"").rstrip(b"\r\n")
            if content and not _fits(content, form, numbers):
                shown = _shown(content.decode("utf-8", "replace"))
                if _fits(b" ".join(content.split()), form, numbers):
                    fix = "Write single spaces between the fields, and none around them, in every line."
                    return _unfit(path, number, rule, shown, fix=fix)
                return _unfit(path, number, rule, shown)
    if number == 0:
        return InputError(str(path), rule, got="an empty file", fix="Get a complete copy of it.")
    return InputError(str(path), rule, got=reason.splitlines()[0][:200], fix="Get a complete copy of it.")


def _fits(line: bytes, form: re.Pattern[bytes], numbers: list[int]) -> bool:
    if form.fullmatch(line) is None:
        return False
    fields = line.split(b" ")
    try:
        line.decode()
        for place in numbers:
            float(fields[place])
    except ValueError:
        return False
    return True


def _unfit(
    path: Path, number: int, rule: str, got: str, *, fix: str = "Get a complete copy of the list."
) -> InputError:
    return InputError(f"{path}, line {number:,}", rule, got=got, fix=fix)


def _shown(line: str) -> str:
    return repr(line.rstrip("\r\n")[:120])
