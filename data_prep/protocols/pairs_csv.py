"""Any list of pairs, as CSV: `left,right,same` and, where the folds are given, `fold`."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError
from data_prep.inside import refuse_name_outside
from data_prep.protocols.base import (
    PairFormat,
    VerificationProtocol,
    deal_folds,
    first_line,
    read_lines,
    refuse_one_sided,
)

_COLUMNS = ["left", "right", "same"]
_SAME = {"1": True, "true": True, "0": False, "false": False}


class _Pair(NamedTuple):
    left: str
    right: str
    same: bool
    fold: int | None


def _recognises(path: Path) -> bool:
    return _columns(first_line(path))[:3] == _COLUMNS


def _columns(header: str) -> list[str]:
    return [column.strip() for column in header.split(",")]


def _load(path: Path) -> VerificationProtocol:
    pairs = list(_read(path))
    same = np.array([pair.same for pair in pairs], dtype=bool)
    fold, fold_rule = _given_folds(pairs) or _dealt_folds(path, same)
    scored_folds = tuple(np.unique(fold).tolist())
    refuse_one_sided(str(path), same, fold, scored_folds=scored_folds)
    return VerificationProtocol(
        name=path.stem,
        left=tuple(pair.left for pair in pairs),
        right=tuple(pair.right for pair in pairs),
        same=same,
        fold=fold,
        scored_folds=scored_folds,
        fold_rule=fold_rule,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def _read(path: Path) -> Iterator[_Pair]:
    header, *body = read_lines(path)
    columns = _columns(header)
    if columns not in (_COLUMNS, [*_COLUMNS, "fold"]):
        raise InputError(
            f"{path}, line 1",
            "the columns must be left,right,same or left,right,same,fold",
            got=",".join(columns),
            fix="Leave other columns out.",
        )
    for line, fields in _rows(path, body):
        if fields:
            yield _pair(path, [field.strip() for field in fields], line=line, count=len(columns))


def _rows(path: Path, body: list[str]) -> Iterator[tuple[int, list[str]]]:
    """(line of the file, fields), the header being line 1."""
    reader = csv.reader(body, skipinitialspace=True)
    try:
        for fields in reader:
            yield reader.line_num + 1, fields
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num + 1}", "must be a line of a CSV", got=error, fix="Mend it."
        ) from error


def _pair(path: Path, fields: list[str], *, line: int, count: int) -> _Pair:
    whole = len(fields) == count and all(fields)
    if not whole or fields[2].lower() not in _SAME or not all(_is_fold(fold) for fold in fields[3:]):
        raise InputError(
            f"{path}, line {line}",
            "must be two photos, same as 1, 0, true or false" + (", and a fold number" if count == 4 else ""),
            got=",".join(fields),
            fix="Mend the line.",
        )
    for key in fields[:2]:
        refuse_name_outside(key, field=f"{path}, line {line}")
    return _Pair(fields[0], fields[1], _SAME[fields[2].lower()], int(fields[3]) if count == 4 else None)


def _is_fold(field: str) -> bool:
    return field.isdecimal() and len(field) < 10


def _given_folds(pairs: list[_Pair]) -> tuple[NDArray[np.int64], str] | None:
    folds = [pair.fold for pair in pairs if pair.fold is not None]
    if not folds:
        return None
    return np.array(folds, dtype=np.int64), f"{len(set(folds))} folds, from the file's fold column"


def _dealt_folds(path: Path, same: NDArray[np.bool_]) -> tuple[NDArray[np.int64], str]:
    fold, rule = deal_folds(str(path), same)
    return fold, f"no fold column: {rule}"


FORMAT = PairFormat("CSV with the columns left,right,same[,fold]", _recognises, _load)
