"""What a list is called: by its pairs where they are known, else by its file or folder and its size.

- LFW, its View 1, and CFP are known by their pairs; see `own_lists`.
- The pairs of XQLFW (Knoche et al. 2021), MLFW (Wang et al. 2021), SLLFW (Deng et al. 2017) and RFW's four
  groups (Wang et al. 2019) are not known here. A list is called so where its file is, as `xqlfw_pairs.txt`,
  or the folder of a file `pairs.txt`, and where it has all of the benchmark's pairs, or promises them in its
  first line. XQLFW's own file is also known by its hash.
- TALFW (Zhong & Deng 2020) is LFW's pairs on other photos, so a list is it where it holds LFW's own pairs and
  its file or folder is called TALFW.
- A list that `faceverif data pairs` made, as the note above it says, is none of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.file_hash import file_hash
from data_prep.protocols.base import ProtocolSize
from data_prep.protocols.benchmarks import (
    FURTHER_BENCHMARKS,
    RFW_GROUPS,
    benchmark_named,
    size_of,
    without_pairs,
)
from data_prep.protocols.list_note import ListNote
from data_prep.protocols.own_lists import LFW_VIEW2, file_name, own_name
from data_prep.protocols.spelling import letters

RFW_COLUMN = "race"  # what RFW's authors call its groups
TALFW_READING = "LFW's own pairs, of TALFW's adversarial photos"
# Files whose checksums `fetching.known_sets` has, with who names them.
_OWN_FILES = {"636852f90b886f3f56c73b13c9775f7ffcd37662dbb189c694f6a0a605b63b84": "XQLFW"}


class Called(NamedTuple):
    """What a path is called after.

    Attributes:
        benchmark: its name.
        by: what says so: its file name, or its folder's.
    """

    benchmark: str
    by: str


class ListName(NamedTuple):
    """What a list is called.

    Attributes:
        name: of its protocol.
        why: it is called so, in words; empty where it is nobody's known list.
        official: the size of a benchmark that is known by its name.
    """

    name: str
    why: str = ""
    official: ProtocolSize | None = None


def called_after(path: Path) -> Called | None:
    """The benchmark that a list is called after, by its file or, for `pairs.txt`, by its folder."""
    benchmark = benchmark_named(path.stem) or _rfw_list(path)
    if benchmark is not None:
        return Called(benchmark, "file name")
    folder = benchmark_named(path.resolve().parent.name) if not without_pairs(path.stem) else None
    return None if folder is None else Called(folder, "folder's name")


def list_name(
    path: Path,
    left: Sequence[str],
    right: Sequence[str],
    same: NDArray[np.bool_],
    fold: NDArray[np.int64],
    *,
    promised: ProtocolSize | None = None,
) -> ListName:
    """What a list is called, and why.

    Args:
        path: of the list.
        left, right: (pairs,) names of photos.
        same: (pairs,).
        fold: (pairs,).
        promised: the size by its first line, where that says one.
    """
    own, called = own_name(left, right, same, fold), called_after(path)
    if own == LFW_VIEW2 and called is not None and called.benchmark == "TALFW":
        return ListName("talfw", f"{TALFW_READING}, as its {called.by} says")
    if own is not None:
        return ListName(own, f"the authors' own pairs of {own}")
    if ListNote.above(path) is not None:
        return ListName(file_name(path) if called is None else path.name)
    size = ProtocolSize(len(left), len(np.unique(fold)))
    named = further_name(path, size, promised=promised)
    return named or ListName(file_name(path))


def further_name(path: Path, size: ProtocolSize, *, promised: ProtocolSize | None = None) -> ListName | None:
    """The name of a further benchmark; None for a list that is called otherwise, or not all of it.

    Args:
        path: of the list.
        size: of its pairs.
        promised: by its first line.
    """
    own, called = _OWN_FILES.get(file_hash(path)), called_after(path)
    if own is not None:
        return ListName(own.lower(), f"{own}'s own file, by its hash", size_of(own))
    if called is None or called.benchmark not in FURTHER_BENCHMARKS or called.benchmark == "TALFW":
        return None
    benchmark, by = called
    whole = size_of(benchmark) in (size, promised)
    if not whole and not _in_rfw(path, benchmark):
        return None
    also = "its size" if whole else "its folder"
    unlike = "its pairs are not known here"
    if benchmark in _OWN_FILES.values():
        unlike = "not the authors' own file, or saved again by others"
    return ListName(benchmark.lower(), f"{benchmark} by its {by} and {also}; {unlike}", size_of(benchmark))


def rfw_group(name: str) -> str | None:
    """The group of RFW whose protocol is called so; None for another protocol.

    A person may be in two groups, so RFW's photos are named with the folder of their group.
    """
    return next((group for group in RFW_GROUPS if name == f"RFW-{group}".lower()), None)


def _rfw_list(path: Path) -> str | None:
    """RFW's lists are called `African_pairs.txt` and so on."""
    called = without_pairs(path.stem)
    found = (f"RFW-{group}" for group in RFW_GROUPS if letters(group) == called != letters(path.stem))
    return next(found, None)


def _in_rfw(path: Path, benchmark: str) -> bool:
    """Whether a list lies where RFW has it, as in `RFW/test/txts/African`: then it may be a part."""
    *_, above, folder, _ = ("", "", *path.resolve().parts)
    return (f"RFW-{folder}", above) == (benchmark, "txts")
