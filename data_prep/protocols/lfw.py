"""Lists in LFW's form: `name number number` is a genuine pair, `name number name number` an impostor one.

Huang et al. (2007), "Labeled Faces in the Wild". LFW's own files open with their counts: View 2 (`pairs.txt`)
with sets and pairs of a kind in each, View 1 (`pairsDevTest.txt` beside `pairsDevTrain.txt`) with the latter
alone. RFW publishes such lists without counts, XQLFW with LFW's counts, Kaggle as a CSV with a header, or in
two files, one for each kind of pair, which are joined. A list is called LFW's where it holds LFW's own pairs:
see `own_lists`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError
from data_prep.protocols.base import PairFormat, ProtocolSize, VerificationProtocol
from data_prep.protocols.folds import alternating_sets, deal_folds, folds_of_sets
from data_prep.protocols.halves import other_half, training_half
from data_prep.protocols.list_names import RFW_COLUMN, ListName, list_name, rfw_group
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
from data_prep.protocols.own_lists import BENCHMARK_OF, LFW_VIEW1, LFW_VIEW2, file_name, own_name
from data_prep.protocols.photo_names import refuse_names_outside

TRAIN_NAME, _TEST_NAME = "pairsDevTrain.txt", "pairsDevTest.txt"
_GENUINE, _IMPOSTOR = 3, 4  # fields of a line
_NUMBER = re.compile(r"[0-9]{1,9}")
_NAMED = "photos by number: NAME/NAME_0001"


@dataclass(frozen=True)
class _List:
    """The pairs of a file in its order.

    Attributes:
        files: that the pairs come from.
        counts: of the first line: sets and pairs of a kind, or the latter alone; empty where there are none.
        left, right: (pairs,) keys of photos.
        same: (pairs,).
        separator: between the fields.
        lines: (pairs,) where each stands in its file; empty where there are two files.
    """

    files: tuple[Path, ...]
    counts: tuple[int, ...]
    left: tuple[str, ...]
    right: tuple[str, ...]
    same: NDArray[np.bool_]
    separator: Separator
    lines: tuple[int, ...] = ()


def _recognises(path: Path) -> bool:
    return _separator(path) is not None


def _separator(path: Path) -> Separator | None:
    """What separates names and numbers in the opening lines; None for another kind of file."""
    lines = opening_lines(path)
    for separator in SEPARATORS:
        rows = opening_rows(lines, separator)
        if len(rows) > 1 and _may_open(rows[0].fields) and _is_pair(rows[1].fields):
            return separator
    return None


def _may_open(fields: list[str]) -> bool:
    named = _is_pair(fields) and not _NUMBER.fullmatch(fields[0])  # three numbers may mean anything
    return named or _are_counts(fields) or _is_header(fields)


def _is_pair(fields: list[str]) -> bool:
    if len(fields) not in (_GENUINE, _IMPOSTOR) or not all(fields):
        return False
    return all(_NUMBER.fullmatch(each) for each in (fields[1], fields[-1]))


def _are_counts(fields: list[str]) -> bool:
    return len(fields) in (1, 2) and all(_NUMBER.fullmatch(each) for each in fields)


def _is_header(fields: list[str]) -> bool:
    """Kaggle's `name,imagenum1,imagenum2` and the like."""
    return any("name" in each.lower() for each in fields) and any("num" in each.lower() for each in fields)


def _load(path: Path) -> VerificationProtocol:
    listed = _read(path)
    if len(listed.counts) == 1 and path.name == TRAIN_NAME:
        raise _half_of_view1(path)
    train = training_half(path)
    if train is None and len(listed.counts) == 1 and (path.parent / TRAIN_NAME).is_file():
        train = path.parent / TRAIN_NAME
    if train is not None and len(listed.counts) < 2:
        return _view1(_read(train), listed)
    if path.name == _TEST_NAME:
        raise _half_of_view1(f"{path}, without {TRAIN_NAME} beside it")
    return _one_list(path, listed)


def _one_list(path: Path, listed: _List) -> VerificationProtocol:
    fold, fold_rule = _folds(path, listed)
    sets, size = listed.counts if len(listed.counts) == 2 else (0, 0)
    promised = ProtocolSize(2 * sets * size, sets) if sets > 1 else None
    called = list_name(listed.files[0], listed.left, listed.right, listed.same, fold, promised=promised)
    group = rfw_group(called.name)
    below = f"{group}/" if group is not None else ""
    return VerificationProtocol.of_files(
        *listed.files,
        name=called.name,
        left=[f"{below}{photo}" for photo in listed.left],
        right=[f"{below}{photo}" for photo in listed.right],
        same=listed.same,
        fold=fold,
        fold_rule=fold_rule,
        reading=_reading(called, listed),
        official=promised or called.official,
        columns={} if group is None else {RFW_COLUMN: (group,) * len(listed.same)},
        lines=listed.lines,
    )


def _folds(path: Path, listed: _List) -> tuple[NDArray[np.int64], str]:
    """LFW's sets, where the counts or the order of the pairs give some; else dealt."""
    same, counted = listed.same, len(listed.counts) == 2 and listed.counts[0] > 1
    sets = len(same) // (2 * listed.counts[1]) if counted else alternating_sets(same)
    if sets is None:
        fold, rule = deal_folds(str(path), same)
        return fold, f"no sets: {rule}"
    return folds_of_sets(same, sets)


def _reading(called: ListName, listed: _List) -> str:
    if called.name in (LFW_VIEW2, LFW_VIEW1):
        said = ["LFW's own pairs"]
    elif called.name in BENCHMARK_OF:  # TALFW
        said = [called.why]
    else:
        said = [*([called.why] if called.why else []), "a list in LFW's form, not LFW's own"]
    return "; ".join([*said, f"separated by {listed.separator.name}", _NAMED])


# --- View 1: two files, one that chooses the threshold and one that is scored


def _view1(train: _List, test: _List) -> VerificationProtocol:
    left, right = train.left + test.left, train.right + test.right
    same = np.concatenate([train.same, test.same])
    fold = np.repeat([0, 1], [len(train.same), len(test.same)])
    called = ListName(own_name(left, right, same, fold) or file_name(test.files[0]))
    parts = [
        f"{' and '.join(file.name for file in half.files)} "
        f"({int(half.same.sum()):,} + {int((~half.same).sum()):,})"
        for half in (train, test)
    ]
    return VerificationProtocol.of_files(
        *train.files,
        *test.files,
        name=called.name,
        left=left,
        right=right,
        same=same,
        fold=fold,
        scored_folds=(1,),
        fold_rule=f"threshold from {parts[0]}, scored on {parts[1]}",
        reading=_reading(called, test),
    )


def _half_of_view1(got: object) -> InputError:
    return InputError(
        "--protocol",
        f"View 1 scores {_TEST_NAME} with the threshold of {TRAIN_NAME} in the same folder",
        got=got,
        fix=f"Give {_TEST_NAME} and keep {TRAIN_NAME} beside it.",
    )


# --- reading


def _read(path: Path) -> _List:
    """A list, or both halves of one that is published by kind."""
    listed = _read_file(path)
    genuine = bool(listed.same.all())
    if not genuine and listed.same.any():
        return listed
    other = other_half(path, genuine=genuine)
    if other is None:
        raise _one_kind(path, listed.same)
    second = _read_file(other)
    if (not second.same.any()) != genuine or len(set(second.same.tolist())) > 1:
        raise _one_kind(other, second.same)
    first, second = (listed, second) if genuine else (second, listed)
    return _List(
        first.files + second.files,
        (),
        first.left + second.left,
        first.right + second.right,
        np.concatenate([first.same, second.same]),
        first.separator,
    )


def _read_file(path: Path) -> _List:
    separator = _separator(path)
    if separator is None:
        raise unknown_list(path)
    opening, *body = split_rows(read_lines(path), separator, field=str(path))
    counts: tuple[int, ...] = ()
    if _are_counts(opening.fields):
        counts = tuple(int(count) for count in opening.fields)
        body = _counted(path, body, counts)
    elif _is_pair(opening.fields):
        body = [opening, *body]
    pairs = [_photos(path, row, separator) for row in body]
    left, right = zip(*pairs, strict=True)
    refuse_names_outside(left, right, [row.line for row in body], file=str(path))
    same = np.array([len(row.fields) == _GENUINE for row in body], dtype=bool)
    _refuse_other_order(path, body, same, counts)
    return _List((path,), counts, left, right, same, separator, tuple(row.line for row in body))


def _counted(path: Path, body: list[Row], counts: tuple[int, ...]) -> list[Row]:
    """The rows of whole sets; a set cut short is left out, since its last line may be torn."""
    promised, size = counts if len(counts) == 2 else (1, counts[0])
    sets = len(body) // (2 * size) if size else 0
    if not sets or sets > promised or (sets == promised and len(body) > 2 * size * sets):
        raise InputError(
            str(path),
            f"must hold the {promised} x ({size} genuine + {size} impostor) pairs of its first line",
            got=f"{len(body)} lines",
            fix="Get a complete copy of the file, or write the counts that it has into the first line.",
        )
    return body[: sets * 2 * size]


def _photos(path: Path, row: Row, separator: Separator) -> tuple[str, str]:
    """Both photo keys of a line: `Name/Name_0001`."""
    if not _is_pair(row.fields):
        raise InputError(
            f"{path}, line {row.line}",
            f"must be `name number number` or `name number name number`, separated by {separator.name}",
            got=repr(separator.sign.join(row.fields)[:80]),
            fix="Fix the line; the order of pairs is part of the protocol.",
        )
    first, number, *other, last = row.fields
    second = other[0] if other else first
    return f"{first}/{first}_{int(number):04d}", f"{second}/{second}_{int(last):04d}"


def _refuse_other_order(
    path: Path, body: Sequence[Row], same: NDArray[np.bool_], counts: tuple[int, ...]
) -> None:
    """With counts, the place of a line says what it must be."""
    if not counts:
        return
    wrong = np.flatnonzero(same != (np.arange(len(same)) // counts[-1] % 2 == 0))
    if len(wrong):
        row, is_genuine = body[int(wrong[0])], bool(same[wrong[0]])
        raise InputError(
            f"{path}, line {row.line}",
            f"must be {'an impostor' if is_genuine else 'a genuine'} pair, by the counts of the first line",
            got=" ".join(row.fields),
            fix="Get a complete copy of the file; the order of pairs is part of the protocol.",
        )


def _one_kind(path: Path, same: NDArray[np.bool_]) -> InputError:
    genuine = bool(same.all())
    begins = ("match", "mismatch") if genuine else ("mismatch", "match")
    return InputError(
        str(path),
        "must hold genuine pairs (name number number) and impostor pairs (name number name number)",
        got=f"{len(same):,} {'genuine' if genuine else 'impostor'} pairs alone",
        fix=f"Add the {'impostor' if genuine else 'genuine'} pairs, or lay their list beside it: a name that "
        f"begins with {begins[0]} goes with one that begins with {begins[1]} and is otherwise the same.",
    )


FORMAT = PairFormat(
    "a list in LFW's form (LFW's pairs.txt or pairsDevTest.txt, XQLFW, RFW, Kaggle's pairs.csv)",
    _recognises,
    _load,
)
