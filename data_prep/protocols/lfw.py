"""LFW's own pair files: View 2 (`pairs.txt`) and View 1 (`pairsDevTest.txt` beside `pairsDevTrain.txt`).

Huang et al. (2007), "Labeled Faces in the Wild". A file opens with its counts; then, tab-separated, come the
sets: first the genuine pairs (name, number, number), then as many impostors (name, number, name, number).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.errors import InputError
from data_prep.inside import refuse_name_outside
from data_prep.protocols.base import PairFormat, ProtocolSize, VerificationProtocol, first_lines, read_lines

_TRAIN_NAME = "pairsDevTrain.txt"
_VIEW2, _VIEW2_SETS = ProtocolSize(pairs=6000, folds=10), (10, 300)
_VIEW1 = ProtocolSize(pairs=3200, folds=2)
_VIEW1_TRAIN, _VIEW1_TEST = 1100, 500  # pairs of a kind in each half


@dataclass(frozen=True)
class _PairFile:
    """The pairs of a file in its order: `sets` times `size` genuine and `size` impostor ones."""

    promised: int  # sets; of a View 2 cut short, fewer are here
    sets: int
    size: int
    left: tuple[str, ...]
    right: tuple[str, ...]


def is_view2(path: Path) -> bool:
    """Whether a file opens with two counts, sets and pairs of a kind in each, and then a pair."""
    return _opens_with(path, r"\d{1,9}\t\d{1,9}")


def _recognises(path: Path) -> bool:
    return _opens_with(path, r"\d{1,9}(\t\d{1,9})?")


def _opens_with(path: Path, counts: str) -> bool:
    """The second line tells a list of pairs from InsightFace's `train.idx`, numbers by twos throughout."""
    first, second = first_lines(path, 2)
    return re.fullmatch(counts, first) is not None and second.count("\t") in (2, 3)


def _load(path: Path) -> VerificationProtocol:
    """View 2 where the file opens with two counts, View 1 where it opens with one."""
    return (_view2 if is_view2(path) else _view1)(path, _read(path))


def _view2(path: Path, pairs: _PairFile) -> VerificationProtocol:
    is_official = (pairs.promised, pairs.size) == _VIEW2_SETS
    return VerificationProtocol(
        name="lfw-view2" if is_official else f"{path.stem} ({pairs.sets} x {pairs.size} + {pairs.size})",
        left=pairs.left,
        right=pairs.right,
        same=np.tile(np.repeat([True, False], pairs.size), pairs.sets),
        fold=np.repeat(np.arange(pairs.sets), 2 * pairs.size),
        scored_folds=tuple(range(pairs.sets)),
        fold_rule=f"{pairs.sets} sets of {pairs.size} + {pairs.size} pairs, in file order",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        official=_VIEW2 if is_official else None,
    )


def _view1(path: Path, test: _PairFile) -> VerificationProtocol:
    train_path = path.parent / _TRAIN_NAME
    if path.name == _TRAIN_NAME or not train_path.is_file():
        raise InputError(
            "protocol",
            f"View 1 scores pairsDevTest.txt with the threshold of {_TRAIN_NAME} in the same folder",
            got=path if path.name == _TRAIN_NAME else f"{path}, without {_TRAIN_NAME} beside it",
            fix=f"Give pairsDevTest.txt and keep {_TRAIN_NAME} beside it.",
        )
    train = _read(train_path)
    _refuse_larger(train_path, train, official=_VIEW1_TRAIN)
    _refuse_larger(path, test, official=_VIEW1_TEST)
    halves = (train, test)
    return VerificationProtocol(
        name="lfw-view1",
        left=train.left + test.left,
        right=train.right + test.right,
        same=np.concatenate([np.repeat([True, False], half.size) for half in halves]),
        fold=np.repeat([0, 1], [2 * half.size for half in halves]),
        scored_folds=(1,),
        fold_rule=(
            f"threshold from {_TRAIN_NAME} ({train.size} + {train.size}), "
            f"scored on {path.name} ({test.size} + {test.size})"
        ),
        sha256=hashlib.sha256(train_path.read_bytes() + path.read_bytes()).hexdigest(),
        official=_VIEW1,
    )


def _refuse_larger(path: Path, half: _PairFile, *, official: int) -> None:
    """One half's surplus would hide what the other lacks: both are counted together afterwards."""
    if half.size > official:
        raise InputError(
            str(path),
            f"holds {official} + {official} pairs in View 1",
            got=f"{half.size} + {half.size}",
            fix="Take LFW's own file, or convert the list to a CSV that opens with left,right,same.",
        )


def _read(path: Path) -> _PairFile:
    header, *body = read_lines(path)
    counts = [int(count) for count in header.split()]
    promised, size = counts if len(counts) == 2 else (1, counts[0])
    lines = promised * 2 * size
    # What a View 2 cut short keeps of its last set is left out: its last line may be torn.
    fewest = 2 * size if (promised, size) == _VIEW2_SETS else lines
    if size == 0 or (len(counts) == 2 and promised < 2) or not fewest <= len(body) <= lines:
        raise InputError(
            str(path),
            f"must hold the {promised} x ({size} genuine + {size} impostor) pairs of its first line",
            got=f"{len(body)} lines",
            fix="Take a whole copy of the file.",
        )
    sets = len(body) // (2 * size)
    pairs = []
    for index, line in enumerate(body[: sets * 2 * size]):
        fields = 3 if index // size % 2 == 0 else 4
        pairs.append(_photos(path, line, number=index + 2, fields=fields))
    left, right = zip(*pairs, strict=True)
    return _PairFile(promised, sets, size, left, right)


def _photos(path: Path, line: str, *, number: int, fields: int) -> tuple[str, str]:
    """Both photo keys of a line: `Name/Name_0001`."""
    parts = line.rstrip("\n").split("\t")
    numbers = parts[1:] if fields == 3 else parts[1::2]
    if (
        len(parts) != fields
        or not all(part.isdecimal() and len(part) < 10 for part in numbers)
        or not all(parts)
    ):
        kind = "name, number, number" if fields == 3 else "name, number, name, number"
        raise InputError(
            f"{path}, line {number}",
            f"must be {'a genuine' if fields == 3 else 'an impostor'} pair: {kind}, separated by tabs",
            got=repr(line),
            fix="Mend the line; the order of pairs is part of the protocol.",
        )
    first, second = parts[0], parts[0] if fields == 3 else parts[2]
    keys = (f"{first}/{first}_{int(numbers[0]):04d}", f"{second}/{second}_{int(numbers[1]):04d}")
    for key in keys:
        refuse_name_outside(key, field=f"{path}, line {number}")
    return keys


FORMAT = PairFormat("LFW pairs.txt or pairsDevTest.txt", _recognises, _load)
