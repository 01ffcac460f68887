"""The pairs of an InsightFace `.bin`: LFW, AgeDB-30, CALFW, CPLFW, CFP, or any other."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from data_prep.errors import InputError
from data_prep.protocols.base import PairFormat, ProtocolSize, VerificationProtocol, refuse_one_sided
from data_prep.sources.insightface_bin import is_bin, pair_keys, read_bin

_FOLDS = 10
_SIX, _SEVEN = ProtocolSize(6000, _FOLDS), ProtocolSize(7000, _FOLDS)
# Known by file name, as InsightFace calls them: a `.bin` says nothing about itself.
_OFFICIAL = {
    "lfw": _SIX,
    "agedb_30": _SIX,
    "calfw": _SIX,
    "cplfw": _SIX,
    "cfp_ff": _SEVEN,
    "cfp_fp": _SEVEN,
}


def _load(path: Path) -> VerificationProtocol:
    same = read_bin(path).same
    if len(same) < _FOLDS:
        raise InputError(
            str(path), "must hold 10 pairs or more, one a fold", got=len(same), fix="Take a whole copy."
        )
    # In order, the first folds one longer where ten does not divide: as the field cuts them.
    fold = np.repeat(np.arange(_FOLDS), [len(part) for part in np.array_split(same, _FOLDS)])
    refuse_one_sided(str(path), same, fold, scored_folds=range(_FOLDS))
    left, right = zip(*(pair_keys(path, pair) for pair in range(len(same))), strict=True)
    return VerificationProtocol(
        name=f"{path.name}",
        left=left,
        right=right,
        same=same,
        fold=fold,
        scored_folds=tuple(range(_FOLDS)),
        fold_rule="10 folds of consecutive pairs, in the .bin's order",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        official=_OFFICIAL.get(path.stem),
    )


FORMAT = PairFormat("an InsightFace .bin", is_bin, _load)
