"""Lists in CALFW's and CPLFW's form (`pairs_CALFW.txt`, `pairs_CPLFW.txt`): a pair is two lines `NAME flag`.

Zheng et al. (2017), "Cross-Age LFW", and Zheng & Deng (2018), "Cross-Pose LFW". The flag stands on both
lines: 0 for an impostor pair; for a genuine one CALFW writes its fold, 1 to 10, and CPLFW writes 1. Impostors
carry no fold in either. As the field does, we deal both kinds in file order, 300 per fold.

The pairs themselves are not known here. A list is called CALFW or CPLFW where its file or folder is called so
and its flags do not say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError
from data_prep.inside import refuse_name_outside
from data_prep.protocols.base import PairFormat, ProtocolSize, VerificationProtocol
from data_prep.protocols.benchmarks import size_of
from data_prep.protocols.folds import given_or_dealt
from data_prep.protocols.list_names import ListName, called_after, further_name
from data_prep.protocols.list_text import opening_lines, read_lines
from data_prep.protocols.own_lists import file_name

_PER_FOLD_AND_KIND = 300
_FOLD_RULE = f"folds of {_PER_FOLD_AND_KIND} + {_PER_FOLD_AND_KIND} pairs, each kind in file order"
_LINE = re.compile(r"([^\s,;]+\.(?:jpe?g|png|bmp))[\s,;]+([0-9]|10)[\s,;]*", re.IGNORECASE)


def _load(path: Path) -> VerificationProtocol:
    pairs = list(_pairs(path))
    flags = np.array([flag for _, _, flag in pairs])
    same = flags > 0
    order = np.where(same, np.cumsum(same), np.cumsum(~same)) - 1
    fold, fold_rule = order // _PER_FOLD_AND_KIND, _FOLD_RULE
    called = _called(path, flags, ProtocolSize(len(pairs), len(np.unique(fold))))
    if called.official is None:
        fold, fold_rule = given_or_dealt(str(path), same, fold, rule=fold_rule)
    return VerificationProtocol.of_files(
        path,
        name=called.name,
        left=[left for left, _, _ in pairs],
        right=[right for _, right, _ in pairs],
        same=same,
        fold=fold,
        fold_rule=fold_rule,
        reading=called.why or "a list in CALFW's and CPLFW's form, of another name",
        official=called.official,
    )


def _called(path: Path, flags: NDArray[np.int64], size: ProtocolSize) -> ListName:
    """CALFW or CPLFW, where the file or its folder is called so; CPLFW's flags are 0 and 1 alone."""
    called = called_after(path)
    named = called.benchmark if called is not None else None
    if called is not None and (named == "CALFW" or (named == "CPLFW" and flags.max() <= 1)):
        why = f"{called.benchmark} by its {called.by} and its form; its pairs are not known here"
        return ListName(called.benchmark.lower(), why, size_of(called.benchmark))
    return further_name(path, size) or ListName(file_name(path))


def _pairs(path: Path) -> Iterator[tuple[str, str, int]]:
    lines = [(number, line) for number, line in enumerate(read_lines(path), start=1) if line.strip()]
    for place in range(0, len(lines), 2):
        number, _ = lines[place]
        found = [_LINE.fullmatch(line) for _, line in lines[place : place + 2]]
        match found:
            case [re.Match() as first, re.Match() as second] if first.group(2) == second.group(2):
                field = f"{path}, line {number}"
                left, right = (refuse_name_outside(line.group(1), field=field) for line in (first, second))
                yield left, right, int(first.group(2))
            case _:
                raise InputError(
                    f"{path}, line {number}",
                    "must begin a pair: two lines of a photo and a flag, the same on both",
                    got=repr([line for _, line in lines[place : place + 2]])[:160],
                    fix="Get a complete copy of the file.",
                )


def _recognises(path: Path) -> bool:
    """The first two lines are photos with one flag; CelebA's list of identities has other numbers there."""
    lines = [_LINE.fullmatch(line) for line in opening_lines(path)]
    match lines:
        case [re.Match() as first]:
            return True
        case [re.Match() as first, re.Match() as second]:
            return first.group(2) == second.group(2)
        case _:
            return False


FORMAT = PairFormat("a list in CALFW's and CPLFW's form", _recognises, _load)
