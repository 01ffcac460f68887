"""The field's protocols by name: how large each is, and how names are compared."""

from __future__ import annotations

import re

from data_prep.protocols.base import ProtocolSize

_SIX, _SEVEN = ProtocolSize(pairs=6000, folds=10), ProtocolSize(pairs=7000, folds=10)

BENCHMARKS: dict[str, ProtocolSize] = {
    "LFW": _SIX,
    "CALFW": _SIX,
    "CFP-FF": _SEVEN,
    "CPLFW": _SIX,
    "CFP-FP": _SEVEN,
    "AgeDB-30": _SIX,
}


def letters(name: str) -> str:
    """A name by its letters and digits alone, so that `agedb_30` and `AgeDB-30` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def benchmark_named(name: str) -> str | None:
    """The benchmark that a list is called after, as `pairs_CALFW` or `agedb_30`; null for another."""
    wanted = without_pairs(name)
    return next((benchmark for benchmark in BENCHMARKS if letters(benchmark) == wanted), None)


def without_pairs(name: str) -> str:
    """The letters of a list's name without the word `pairs` or `pair` before or after them."""
    return re.sub(r"^pairs?|pairs?$", "", letters(name))
