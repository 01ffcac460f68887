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
from data_prep.protocols.base import PairFormat, VerificationProtocol, read_lines

_COLUMNS = ["left", "right", "same"]
_SAME = {"1": True, "true": True, "0": False, "false": False}
_MOST_FOLDS = 10


class _Pair(NamedTuple):
    left: str
    right: str
    same: bool
    fold: int | None


def _recognises(first_line: str) -> bool:
    return _columns(first_line)[:3] == _COLUMNS


def _columns(first_line: str) -> list[str]:
    return [column.strip() for column in first_line.split(",")]


def _load(path: Path) -> VerificationProtocol:
    pairs = list(_read(path))
    same = np.array([pair.same for pair in pairs], dtype=bool)
    fold, fold_rule = _given_folds(pairs) or _dealt_folds(path, same)
    _refuse_one_sided(path, same, fold)
    return VerificationProtocol(
        name=path.stem,
        left=tuple(pair.left for pair in pairs),
        right=tuple(pair.right for pair in pairs),
        same=same,
        fold=fold,
        scored_folds=tuple(np.unique(fold).tolist()),
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
    reader = csv.reader(body, skipinitialspace=True)
    for fields in reader:
        if fields:
            yield _pair(
                path, [field.strip() for field in fields], line=reader.line_num + 1, count=len(columns)
            )


def _pair(path: Path, fields: list[str], *, line: int, count: int) -> _Pair:
    whole = len(fields) == count and all(fields)
    if not whole or fields[2].lower() not in _SAME or not all(fold.isdecimal() for fold in fields[3:]):
        raise InputError(
            f"{path}, line {line}",
            "must be two photos, same as 1, 0, true or false" + (", and a fold number" if count == 4 else ""),
            got=",".join(fields),
            fix="Mend the line.",
        )
    return _Pair(fields[0], fields[1], _SAME[fields[2].lower()], int(fields[3]) if count == 4 else None)


def _given_folds(pairs: list[_Pair]) -> tuple[NDArray[np.int64], str] | None:
    folds = [pair.fold for pair in pairs if pair.fold is not None]
    if not folds:
        return None
    return np.array(folds, dtype=np.int64), f"{len(set(folds))} folds, from the file's fold column"


def _dealt_folds(path: Path, same: NDArray[np.bool_]) -> tuple[NDArray[np.int64], str]:
    """The i-th genuine and the i-th impostor pair go to fold i mod k, so that every fold has both kinds."""
    genuine, impostors = int(same.sum()), int((~same).sum())
    folds = min(_MOST_FOLDS, genuine, impostors)
    if folds < 2:
        raise InputError(
            str(path),
            "must hold at least 2 genuine and 2 impostor pairs, to be dealt into folds",
            got=f"{genuine} genuine, {impostors} impostor",
            fix="Add pairs.",
        )
    order = np.where(same, np.cumsum(same), np.cumsum(~same)) - 1
    rule = f"no fold column: the i-th genuine and the i-th impostor pair are in fold i mod {folds}"
    return (order % folds).astype(np.int64), rule


def _refuse_one_sided(path: Path, same: NDArray[np.bool_], fold: NDArray[np.int64]) -> None:
    """A fold's threshold needs both kinds outside it: say so before anything is embedded."""
    for number in np.unique(fold):
        others = same[fold != number]
        if others.all() or not others.any():
            raise InputError(
                str(path),
                f"must hold genuine and impostor pairs outside fold {number}, to choose its threshold there",
                got=f"{int(others.sum())} genuine, {int((~others).sum())} impostor",
                fix="Spread both kinds over at least two folds, or leave the fold column out.",
            )


FORMAT = PairFormat("CSV with the columns left,right,same[,fold]", _recognises, _load)
