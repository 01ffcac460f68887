"""SLLFW's own list (`pair_SLLFW.txt`): a pair is two lines, a photo of LFW with its folder on each.

Deng et al. (2017), "Fine-grained face verification: FGLFW database, baselines, and human-DCMN partnership".
There are no flags: a pair is genuine if both photos lie in one folder. Ten sets of 300 genuine and 300
impostor pairs follow each other, as in LFW; the impostors look alike. A list of photos has this form too, so
the file or its folder must be called SLLFW.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from data_prep.errors import InputError
from data_prep.protocols.base import PairFormat, VerificationProtocol
from data_prep.protocols.benchmarks import size_of
from data_prep.protocols.folds import alternating_sets, deal_folds, folds_of_sets
from data_prep.protocols.list_names import called_after
from data_prep.protocols.list_text import opening_lines, read_lines
from data_prep.protocols.photo_names import refuse_names_outside, tidied

_NAME = "SLLFW"
_PHOTO = re.compile(r"[^\s/\\,;]+[/\\][^\s/\\,;]+\.(?:jpe?g|png|bmp)", re.IGNORECASE)


def _load(path: Path) -> VerificationProtocol:
    lines = [(number, line.strip()) for number, line in enumerate(read_lines(path), start=1) if line.strip()]
    for number, line in lines:
        if _PHOTO.fullmatch(line) is None:
            raise _broken(path, number, line)
    if len(lines) % 2:
        raise _broken(path, lines[-1][0], lines[-1][1])
    photos, notes = tidied([line for _, line in lines])
    left, right = photos[::2], photos[1::2]
    refuse_names_outside(left, right, [number for number, _ in lines[::2]], file=str(path))
    same = np.array(
        [one.split("/")[0] == other.split("/")[0] for one, other in zip(left, right, strict=True)]
    )
    sets = alternating_sets(same)
    fold, rule = deal_folds(str(path), same) if sets is None else folds_of_sets(same, sets)
    called = called_after(path)
    by = called.by if called is not None else "name"
    said = f"{_NAME} by its {by} and its form; its pairs are not known here", "genuine in one folder", *notes
    return VerificationProtocol.of_files(
        path,
        name=_NAME.lower(),
        left=left,
        right=right,
        same=same,
        fold=fold,
        fold_rule=rule,
        reading="; ".join(said),
        official=size_of(_NAME),
    )


def _broken(path: Path, number: int, line: str) -> InputError:
    return InputError(
        f"{path}, line {number}",
        "must be a photo with its folder, and two such lines a pair",
        got=repr(line[:80]),
        fix="Get a complete copy of the file.",
    )


def _recognises(path: Path) -> bool:
    called = called_after(path)
    lines = opening_lines(path) if called is not None and called.benchmark == _NAME else []
    return bool(lines) and all(_PHOTO.fullmatch(line.strip()) for line in lines)


FORMAT = PairFormat(f"{_NAME}'s list of two photos a pair", _recognises, _load)
