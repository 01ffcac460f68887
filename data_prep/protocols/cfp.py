"""CFP-FF and CFP-FP from the authors' own files: `Protocol/Split/{FF,FP}` beside `Pair_list_{F,P}.txt`.

Sengupta et al. (2016), "Frontal to Profile Face Verification in the Wild". A pair is two numbers: the first
counts in the frontal list, the second in the frontal list for FF and in the profile list for FP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.errors import InputError
from data_prep.inside import refuse_name_outside
from data_prep.protocols.base import PairFormat, VerificationProtocol
from data_prep.protocols.benchmarks import BENCHMARKS
from data_prep.protocols.list_text import read_lines
from data_prep.protocols.own_lists import own_name

_FOLDS = tuple(f"{number:02d}" for number in range(1, 11))
_KINDS = {"same.txt": True, "diff.txt": False}
_PREFIX = "../Data/Images/"  # how each name of the lists begins: relative to the lists' own folder
_PHOTO = re.compile(r"\d{3}/(frontal|profile)/\d{2}\.jpg")
_ENTRY = re.compile(r"(\d{1,6})\s+(\S+)\s*")
_PAIR = re.compile(r"\s*(\d{1,6})\s*,\s*(\d{1,6})\s*")


def _load(path: Path) -> VerificationProtocol:
    frontal, profile = (_pair_list(path, name) for name in ("Pair_list_F.txt", "Pair_list_P.txt"))
    lists = (frontal, frontal if path.name == "FF" else profile)
    first, second = (_read_list(file) for file in lists)
    files = [path / fold / name for fold in _FOLDS for name in _KINDS if (path / fold / name).is_file()]
    pairs = [(file, *pair) for file in files for pair in _pairs(file, first, second)]
    same = np.array([_KINDS[file.name] for file, _, _ in pairs], dtype=bool)
    fold = np.array([int(file.parent.name) - 1 for file, _, _ in pairs], dtype=np.int64)
    left = tuple(first for _, first, _ in pairs)
    right = tuple(second for _, _, second in pairs)
    name = own_name(left, right, same, fold)
    return VerificationProtocol.of_files(
        *lists,
        *files,
        name=name or f"{path.name} in CFP's form",
        left=left,
        right=right,
        same=same,
        fold=fold,
        fold_rule="10 splits of 350 + 350 pairs",
        reading="CFP's own pairs" if name else "pairs in CFP's form, not CFP's own or not all of them",
        official=BENCHMARKS[f"CFP-{path.name}"],
    )


def _pair_list(path: Path, name: str) -> Path:
    """Beside `Split`, as in the distributed data set, or in it, as its Readme says."""
    places = (path.parent.parent / name, path.parent / name)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise InputError(
            "--protocol",
            f"CFP's splits need {name} beside the folder Split",
            got=path,
            fix="Keep Protocol/ as its authors distribute it.",
        )
    return found


def _read_list(path: Path) -> dict[int, str]:
    photos: dict[int, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        field = f"{path}, line {number}"
        entry = _ENTRY.fullmatch(line)
        name = refuse_name_outside(entry.group(2).removeprefix(_PREFIX), field=field) if entry else ""
        if entry is None or _PHOTO.fullmatch(name) is None or int(entry.group(1)) in photos:
            raise InputError(
                field,
                f"must be a number, once, and a photo as {_PREFIX}001/frontal/01.jpg",
                got=repr(line[:80]),
                fix="Get a complete copy of the file.",
            )
        photos[int(entry.group(1))] = name
    return photos


def _pairs(path: Path, first: dict[int, str], second: dict[int, str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(read_lines(path), start=1):
        pair = _PAIR.fullmatch(line)
        if pair is None or int(pair.group(1)) not in first or int(pair.group(2)) not in second:
            raise InputError(
                f"{path}, line {number}",
                "must be two numbers of the pair lists, with a comma between",
                got=repr(line[:80]),
                fix="Get a complete copy of the file.",
            )
        yield first[int(pair.group(1))], second[int(pair.group(2))]


def _recognises(path: Path) -> bool:
    return path.name in ("FF", "FP") and any((path / fold / "same.txt").is_file() for fold in _FOLDS)


FORMAT = PairFormat("CFP's folder Protocol/Split/FF or Protocol/Split/FP", _recognises, _load)
