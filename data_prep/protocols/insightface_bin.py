"""The pairs of an InsightFace `.bin`: LFW, AgeDB-30, CALFW, CPLFW, CFP, or any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data_prep.errors import InputError
from data_prep.protocols.base import PairFormat, VerificationProtocol
from data_prep.protocols.benchmarks import benchmark_named, size_of
from data_prep.protocols.folds import given_or_dealt
from data_prep.protocols.own_lists import BENCHMARK_OF, BENCHMARKS_OF_BINS, own_bin_name
from data_prep.sources.insightface_bin import is_bin, pair_keys, read_bin

_FOLDS = 10
_FOLD_RULE = "10 folds of consecutive pairs, in the .bin's order"


def _load(path: Path) -> VerificationProtocol:
    photos, same = read_bin(path)
    if len(same) < _FOLDS:
        raise InputError(
            str(path), "must hold 10 pairs or more, one per fold", got=len(same), fix="Get a complete copy."
        )
    # In order, the first folds one longer where ten does not divide: as the field cuts them.
    consecutive = np.repeat(np.arange(_FOLDS), [len(part) for part in np.array_split(same, _FOLDS)])
    called = benchmark_named(path.stem)
    own = own_bin_name(photos, same) if called != "TALFW" else None  # whose photos repeat as LFW's
    benchmark = BENCHMARK_OF[own] if own else called
    fold, fold_rule = consecutive, _FOLD_RULE
    if benchmark is None:  # of no known size
        fold, fold_rule = given_or_dealt(str(path), same, fold, rule=fold_rule)
    left, right = zip(*(pair_keys(path, pair) for pair in range(len(same))), strict=True)
    return VerificationProtocol.of_files(
        path,
        name=own or path.name,
        left=left,
        right=right,
        same=same,
        fold=fold,
        fold_rule=fold_rule,
        reading=_reading(own, benchmark),
        official=size_of(benchmark) if benchmark else None,
    )


def _reading(own: str | None, benchmark: str | None) -> str:
    if own is not None:
        return f"an InsightFace .bin with {benchmark}'s own pairs: its photos repeat as theirs do"
    if benchmark in BENCHMARKS_OF_BINS:
        return f"an InsightFace .bin called after {benchmark}, with other pairs: its photos repeat otherwise"
    return "an InsightFace .bin, which says nothing of itself: known by its file name alone"


FORMAT = PairFormat("an InsightFace .bin", is_bin, _load)
