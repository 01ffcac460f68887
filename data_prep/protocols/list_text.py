"""The text of a list of pairs: its opening, its lines, and the fields of each by one separator."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from data_prep.errors import InputError, first_line
from data_prep.protocols.columns import columns_in
from data_prep.text_encoding import encoding_of, read_text

LIST_ENDINGS = {".txt", ".csv", ".tsv"}
_LONGEST_OPENING = 4096
_LOOKED_AT = 64  # lines within which the first two that hold something are sought
_DECIDING = 2  # opening rows that say what a list is: a header or counts, and a pair
_LARGEST_FILE = 2**28  # the largest list of the field has a few megabytes

AS_CSV = (
    "Write a pair per line, two photos and 1 for the same person or 0 for different ones, under a first line "
    "that names the columns, such as `left,right,same`."
)


class ListKind(NamedTuple):
    """What a list must be, for messages.

    Attributes:
        option: that names it.
        name: as in "must be a list of pairs".
        holds: what stands in its lines.
        form: how to write one.
    """

    option: str
    name: str
    holds: str
    form: str


PAIRS = ListKind("--protocol", "a list of pairs", "pairs", AS_CSV)


class Separator(NamedTuple):
    """What stands between the fields of a line.

    Attributes:
        name: for people, as in "separated by tabs".
        sign: the character; a space stands for any number of spaces and tabs.
    """

    name: str
    sign: str


SEPARATORS = (
    Separator("tabs", "\t"),
    Separator("semicolons", ";"),
    Separator("commas", ","),
    Separator("bars", "|"),
    Separator("spaces", " "),
)


class Row(NamedTuple):
    """The fields of a line.

    Attributes:
        line: its number in the file, from 1; of a field that goes over several lines the first.
        fields: stripped; empty ones at the end are left out, as some programs end every line with a comma.
    """

    line: int
    fields: list[str]


def opening_lines(path: Path) -> list[str]:
    """The first two lines that hold something, without their ends; none for what is no text."""
    lines = _beginning(path)
    return [line for line in lines[_comments(lines) :] if line.strip()][:_DECIDING]


def opening_comments(path: Path) -> list[str]:
    """The comments above a list: lines that begin with `#`, except a header that begins so too."""
    lines = _beginning(path)
    return [line for line in lines[: _comments(lines)] if line.strip()]


def _beginning(path: Path) -> list[str]:
    """The first lines, without their ends."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        content = b"".join(file.readline(_LONGEST_OPENING) for _ in range(_LOOKED_AT))
    try:
        # What was read may end within a character: lines of UTF-16 do.
        text = codecs.getincrementaldecoder(encoding_of(content))().decode(content)
    except UnicodeDecodeError:
        return []
    return [line.rstrip() for line in text.splitlines()]


def _comments(lines: Sequence[str]) -> int:
    """How many of the first lines are comments, or empty ones between them."""
    held = [place for place, line in enumerate(lines) if line.strip()]
    marked = list(takewhile(lambda place: lines[place].lstrip().startswith("#"), held))
    below = [lines[place] for place in held[len(marked) :][:1]]
    if marked and not any(map(_is_header, below)) and _is_header(lines[marked[-1]], *below):
        marked.pop()
    return marked[-1] + 1 if marked else 0


def _is_header(*lines: str) -> bool:
    """Whether the first of these lines names columns, and the others have them."""
    for separator in SEPARATORS:
        header, *rows = [row.fields for row in opening_rows(lines, separator)] or [[]]
        columns = columns_in([header, *rows]) if header else None
        if columns is not None and all(map(columns.fit, rows)):
            return True
    return False


def unknown_list(path: Path) -> InputError:
    """The error for a text file that is no list of pairs of any known form: the same for every command."""
    return InputError(
        str(path),
        "must be a list of pairs: in LFW's form, in CALFW's and CPLFW's, or two photos and a label per line",
        got=f"first line {opening_lines(path)[0][:80]!r}" if opening_lines(path) else "no text",
        fix=AS_CSV,
    )


def read_lines(path: Path, kind: ListKind = PAIRS) -> list[str]:
    """The lines of a list, without their ends and without empty ones at its end; at least one.

    Comments above the list are empty lines here, so that every line keeps its number.

    Raises:
        InputError: no such file, neither UTF-8 text nor UTF-16 with its mark, or empty.
    """
    if not path.is_file():
        raise InputError(kind.option, f"must be {kind.name}", got=path, fix="Check the path.")
    if path.stat().st_size > _LARGEST_FILE:
        raise InputError(str(path), f"must be {kind.name}", got="a file over 256 MiB", fix="Check the path.")
    try:
        lines = read_text(path).rstrip().split("\n")
    except UnicodeDecodeError as error:
        raise InputError(
            str(path),
            f"must be {kind.name} in UTF-8 text",
            got=f"other bytes from number {error.start + 1:,} on",
            fix="If it is a text file, save it again as UTF-8. " + kind.form,
        ) from error
    if lines == [""]:
        raise InputError(
            str(path), f"must hold {kind.holds}", got="an empty file", fix="Get a complete copy of it."
        )
    if "\0" in lines[0]:
        raise InputError(
            f"{path}, line 1",
            "must be text in UTF-8",
            got="a zero byte, as in UTF-16",
            fix="Save the list again as UTF-8.",
        )
    comments = _comments(lines[:_LOOKED_AT])
    return [""] * comments + lines[comments:]


def split_rows(lines: Iterable[str], separator: Separator, *, field: str) -> Iterator[Row]:
    """The fields of each line that is not empty; quotes keep a separator within a field.

    Args:
        lines: of the file, from its first.
        separator: between the fields.
        field: the file, for the message.

    Raises:
        InputError: a line breaks the rules of a CSV.
    """
    if separator.sign == " ":
        lines = (line.replace("\t", " ") for line in lines)
    reader, line = csv.reader(lines, delimiter=separator.sign, skipinitialspace=True), 1
    try:
        for fields in reader:
            stripped = [_unquoted(each.strip()) for each in fields]
            while stripped and not stripped[-1]:
                stripped.pop()
            if stripped:
                yield Row(line, stripped)
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{field}, line {reader.line_num + 1}",
            "must be fields with a separator between them",
            got=first_line(error),
            fix="Fix the line; a field with a quote in it is written in quotes, with the quote twice.",
        ) from error


def _unquoted(field: str) -> str:
    """Without single quotes around it, which a CSV does not know as quotes."""
    return field[1:-1] if len(field) > 1 and field[0] == field[-1] == "'" else field


def opening_rows(lines: Sequence[str], separator: Separator) -> Sequence[Row]:
    """The rows of opening lines; none where they cannot be split."""
    try:
        return [] if _is_json(lines) else list(split_rows(lines, separator, field="opening"))
    except InputError:
        return []


def _is_json(lines: Sequence[str]) -> bool:
    """Whether a text opens as JSON, whose commas separate other things."""
    return bool(lines) and (lines[0] in ("[", "{") or lines[0].startswith(("[{", "[[", '{"')))
