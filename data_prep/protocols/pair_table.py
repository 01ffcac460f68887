"""Lists with a pair per line, as people publish them: two photos and a label, with or without a header.

Fields are separated by tabs, semicolons, commas or spaces: the first of these that makes such a list of the
opening lines. With a header, the names of the columns decide. Without one, a line has exactly three fields:
two photos, which are no plain numbers, and the label, first or last. The protocol's `reading` states what was
decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.errors import InputError
from data_prep.protocols.base import PairFormat, VerificationProtocol
from data_prep.protocols.columns import Columns, columns_in, columns_without_header
from data_prep.protocols.folds import blocks_of, deal_folds, given_or_dealt
from data_prep.protocols.labels import words_of
from data_prep.protocols.list_names import ListName, list_name
from data_prep.protocols.list_note import ListNote
from data_prep.protocols.list_text import (
    SEPARATORS,
    Row,
    Separator,
    opening_lines,
    opening_rows,
    read_lines,
    split_rows,
    unknown_list,
)
from data_prep.protocols.own_lists import fingerprint
from data_prep.protocols.photo_names import refuse_names_outside, tidied

_KNOWN_FOLDS = 10  # of every benchmark


class _Layout(NamedTuple):
    """How a list is laid out: what separates its fields, and whether its first line is a header."""

    separator: Separator
    has_header: bool


def _recognises(path: Path) -> bool:
    return _layout(path) is not None


def _layout(path: Path) -> _Layout | None:
    lines = opening_lines(path)
    for separator in SEPARATORS:
        rows = opening_rows(lines, separator)
        if rows and columns_in([rows[0].fields]) is not None:
            return _Layout(separator, has_header=True)
        if rows and columns_without_header([row.fields for row in rows]) is not None:
            return _Layout(separator, has_header=False)
    return None


def _load(path: Path) -> VerificationProtocol:
    layout = _layout(path)
    if layout is None:
        raise unknown_list(path)
    rows = list(split_rows(read_lines(path), layout.separator, field=str(path)))
    columns, rows = _columns(path, rows, layout)
    labels = [row.fields[columns.same] for row in rows]
    words = _words(path, rows, labels, columns)
    same = np.array([label.lower() == words[0] for label in labels], dtype=bool)
    names, notes = tidied([row.fields[place] for place in (columns.left, columns.right) for row in rows])
    left, right = tuple(names[: len(rows)]), tuple(names[len(rows) :])
    refuse_names_outside(left, right, [row.line for row in rows], file=str(path))
    called, fold, fold_rule = _name_and_folds(path, rows, columns, same, left=left, right=right)
    note = ListNote.above(path)
    made = note.reading(fingerprint(left, right, same, fold)) if note is not None else ""
    said = [f"separated by {layout.separator.name}", columns.text, f"{words[0]} is the same person", *notes]
    return VerificationProtocol.of_files(
        path,
        name=called.name,
        left=left,
        right=right,
        same=same,
        fold=fold,
        fold_rule=fold_rule,
        reading="; ".join(filter(None, [called.why, made, *said])),
        official=note.size if note is not None else called.official,
        columns={
            name: tuple(row.fields[place] if place < len(row.fields) else "" for row in rows)
            for name, place in columns.further.items()
        },
        lines=[row.line for row in rows],
    )


def _columns(path: Path, rows: list[Row], layout: _Layout) -> tuple[Columns, list[Row]]:
    """Which column is what, and the rows of pairs."""
    fields = [row.fields for row in rows]
    columns = columns_in(fields) if layout.has_header else columns_without_header(fields[:1])
    body = rows[1:] if layout.has_header else rows
    if columns is None or not body:
        raise InputError(str(path), "must hold pairs", got="its first line alone", fix="Get a complete copy.")
    for row in body:
        if not columns.fit(row.fields):
            raise _broken(path, row, columns)
    return columns, body


def _words(path: Path, rows: Sequence[Row], labels: Sequence[str], columns: Columns) -> tuple[str, str]:
    words, other = words_of(labels)
    if other is not None:
        raise _broken(path, rows[other], columns, words=words)
    return words


def _broken(path: Path, row: Row, columns: Columns, *, words: tuple[str, str] = ("1", "0")) -> InputError:
    fold = ", and a fold number" if columns.fold is not None else ""
    return InputError(
        f"{path}, line {row.line}",
        f"must be two photos and {words[0]} for the same person or {words[1]} for different ones{fold}",
        got=repr(",".join(row.fields)[:160]),
        fix="Fix the line; a photo's name with the separator in it is written in quotes.",
    )


def _name_and_folds(
    path: Path,
    rows: Sequence[Row],
    columns: Columns,
    same: NDArray[np.bool_],
    *,
    left: tuple[str, ...],
    right: tuple[str, ...],
) -> tuple[ListName, NDArray[np.int64], str]:
    """What the list is called, and its folds: the list's own, a known benchmark's in file order, or dealt."""
    if columns.fold is not None:
        fold = np.array([int(row.fields[columns.fold]) for row in rows], dtype=np.int64)
        called = list_name(path, left, right, same, fold)
        return called, fold, f"{counted(len(np.unique(fold)), 'fold')}, from the column {columns.fold_name}"
    consecutive = np.arange(len(rows)) * _KNOWN_FOLDS // len(rows)
    called = list_name(path, left, right, same, consecutive)
    if called.why:
        rule = f"the {_KNOWN_FOLDS} folds of {called.name}, in file order"
        return called, *given_or_dealt(str(path), same, consecutive, rule=rule)
    blocks = blocks_of([row.line for row in rows], same)
    if blocks is not None:
        return called, blocks, f"{blocks[-1] + 1} folds, which empty lines set apart"
    fold, rule = deal_folds(str(path), same)
    return called, fold, f"no fold column: {rule}"


FORMAT = PairFormat(
    "a list with two photos and a label per line, such as a CSV that opens with left,right,same[,fold]",
    _recognises,
    _load,
)
