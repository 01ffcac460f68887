"""CALFW's and CPLFW's own lists, `pairs_CALFW.txt` and `pairs_CPLFW.txt`: a pair on two lines `NAME flag`.

Zheng et al. (2017), "Cross-Age LFW", and Zheng & Deng (2018), "Cross-Pose LFW". The flag stands on both
lines: 0 for an impostor pair; for a genuine one CALFW writes its fold, 1 to 10, and CPLFW writes 1. Impostors
carry no fold in either; the field deals both kinds in order, 300 a fold, and so do we.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.errors import InputError
from data_prep.inside import refuse_name_outside
from data_prep.protocols.base import (
    PairFormat,
    ProtocolSize,
    VerificationProtocol,
    first_line,
    read_lines,
    refuse_one_sided,
)

_SIZE = ProtocolSize(pairs=6000, folds=10)
_PER_FOLD_AND_KIND = 300
_LINE = re.compile(r"(\S+\.(?:jpg|png))\s+(\d|10)\s*", re.IGNORECASE)


def _load(path: Path) -> VerificationProtocol:
    pairs = list(_pairs(path))
    same = np.array([flag for _, _, flag in pairs], dtype=bool)
    order = np.where(same, np.cumsum(same), np.cumsum(~same)) - 1
    fold = order // _PER_FOLD_AND_KIND
    scored_folds = tuple(np.unique(fold).tolist())
    refuse_one_sided(str(path), same, fold, scored_folds=scored_folds)
    return VerificationProtocol(
        name=path.stem.removeprefix("pairs_").lower(),
        left=tuple(left for left, _, _ in pairs),
        right=tuple(right for _, right, _ in pairs),
        same=same,
        fold=fold,
        scored_folds=scored_folds,
        fold_rule="10 folds of 300 + 300 pairs: each kind in file order",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        official=_SIZE,
    )


def _pairs(path: Path) -> Iterator[tuple[str, str, bool]]:
    lines = read_lines(path)
    for number in range(0, len(lines), 2):
        found = [_LINE.fullmatch(line) for line in lines[number : number + 2]]
        match found:
            case [re.Match() as first, re.Match() as second] if first.group(2) == second.group(2):
                field = f"{path}, line {number + 1}"
                left, right = (refuse_name_outside(line.group(1), field=field) for line in (first, second))
                yield left, right, first.group(2) != "0"
            case _:
                raise InputError(
                    f"{path}, line {number + 1}",
                    "must begin a pair: two lines of a photo and a flag, the same on both",
                    got=repr(lines[number : number + 2])[:160],
                    fix="Take a whole copy of the file.",
                )


def _recognises(path: Path) -> bool:
    return _LINE.fullmatch(first_line(path)) is not None


FORMAT = PairFormat("pairs_CALFW.txt or pairs_CPLFW.txt", _recognises, _load)
