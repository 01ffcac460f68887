"""The field's protocols by name: how large each is, and which of them a list is called after."""

from __future__ import annotations

import re

from data_prep.protocols.base import ProtocolSize
from data_prep.protocols.spelling import letters

_SIX, _SEVEN = ProtocolSize(pairs=6000, folds=10), ProtocolSize(pairs=7000, folds=10)

# What every suite lists, and the papers print.
BENCHMARKS: dict[str, ProtocolSize] = {
    "LFW": _SIX,
    "CALFW": _SIX,
    "CFP-FF": _SEVEN,
    "CPLFW": _SIX,
    "CFP-FP": _SEVEN,
    "AgeDB-30": _SIX,
}
RFW_GROUPS = ("African", "Asian", "Caucasian", "Indian")
# What a suite lists where it is there.
FURTHER_BENCHMARKS: dict[str, ProtocolSize] = {
    "XQLFW": _SIX,
    "MLFW": _SIX,
    "SLLFW": _SIX,
    "TALFW": _SIX,
    **{f"RFW-{group}": _SIX for group in RFW_GROUPS},
}
# Benchmarks that are about photos of another one, or share theirs.
PHOTOS_OF = {"SLLFW": "LFW", "CFP-FF": "CFP", "CFP-FP": "CFP"}


def size_of(benchmark: str) -> ProtocolSize:
    """The size of a benchmark, by its name."""
    return BENCHMARKS[benchmark] if benchmark in BENCHMARKS else FURTHER_BENCHMARKS[benchmark]


def benchmark_named(name: str) -> str | None:
    """The benchmark that a list is called after, as `pairs_CALFW` or `agedb_30`; None for another."""
    return _BY_LETTERS.get(without_pairs(name))


def without_pairs(name: str) -> str:
    """The letters of a list's name without the word `pairs` or `pair` before or after them."""
    forms = [re.sub(f"^{word}|{word}$", "", letters(name)) for word in ("pairs?", "pair")]
    return next((form for form in forms if form in _BY_LETTERS), forms[0])  # `pair_SLLFW` ends in `SLLFW`


_BY_LETTERS = {letters(benchmark): benchmark for benchmark in (*BENCHMARKS, *FURTHER_BENCHMARKS)}
