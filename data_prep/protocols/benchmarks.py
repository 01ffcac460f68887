"""The field's six benchmarks: which files below a folder are their protocols, which sets their photos.

Both go by name, because content misleads: CALFW and CPLFW call their photos as LFW does, and they are others.
Names are compared by their letters and digits alone, so that `agedb_30.bin` and `AgeDB-30.csv` are one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_prep.dataset.manifest import MANIFEST_NAME
from data_prep.errors import InputError
from data_prep.protocols import cfp, lfw
from data_prep.protocols.base import ProtocolSize
from data_prep.walk import walk

_SIX, _SEVEN = ProtocolSize(pairs=6000, folds=10), ProtocolSize(pairs=7000, folds=10)

BENCHMARKS: dict[str, ProtocolSize] = {
    "LFW": _SIX,
    "CALFW": _SIX,
    "CFP-FF": _SEVEN,
    "CPLFW": _SIX,
    "CFP-FP": _SEVEN,
    "AgeDB-30": _SIX,
}

_LISTS = {".txt", ".csv", ".bin"}
_SHARED = {"CFP-FF": "cfp", "CFP-FP": "cfp"}  # one set of photos for both


def find_protocols(folder: Path) -> dict[str, list[Path]]:
    """The protocols below a folder by benchmark; there may be several of one, as a list and as a `.bin`.

    LFW is any View 2 file; CFP its folders Split/FF and Split/FP; the others, and `.bin` and CSV files of
    all, are known by their name, as `pairs_CALFW.txt` or `cfp_fp.bin`. Links are followed.

    Raises:
        InputError: no such folder, or no protocol in it.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(_everything_below(folder)):
        benchmark = _benchmark_of(path)
        if benchmark is not None:
            found.setdefault(benchmark, []).append(path)
    if not found:
        raise InputError(
            "--suite",
            f"must be a folder with protocols of {', '.join(BENCHMARKS)}",
            got=folder,
            fix="Put pairs.txt, Protocol/Split, pairs_CALFW.txt, agedb_30.bin ... below it.",
        )
    return found


def find_aligned_sets(places: Sequence[Path]) -> list[Path]:
    """Aligned folders: each place itself, or those directly in it.

    Raises:
        InputError: a place is none and holds none.
    """
    return [folder for place in places for folder in _aligned_in(place)]


def set_of(benchmark: str, aligned: Sequence[Path]) -> Path | None:
    """The aligned set of a benchmark's photos: the one whose name begins as the benchmark's.

    `lfw-112` is of LFW, `agedb_30` of AgeDB-30, `cfp` of CFP-FF and CFP-FP where neither has its own.

    Raises:
        InputError: several do.
    """
    for opening in (_letters(benchmark), _SHARED.get(benchmark)):
        fitting = [folder for folder in aligned if _opening(folder) == opening]
        if len(fitting) > 1:
            raise InputError(
                "--data",
                f"must hold one aligned set for {benchmark}",
                got=", ".join(map(str, fitting)),
                fix="Give only the one to be used.",
            )
        if fitting:
            return fitting[0]
    return None


def _everything_below(folder: Path) -> Iterator[Path]:
    """Files and folders."""
    for place, files in walk(folder, field="--suite"):
        yield place
        yield from files


def _benchmark_of(path: Path) -> str | None:
    if cfp.FORMAT.recognises(path):
        return f"CFP-{path.name}"
    if path.suffix.lower() not in _LISTS or not path.is_file():
        return None
    named = _letters(path.stem).removeprefix("pairs")
    known = next((name for name in BENCHMARKS if _letters(name) == named), None)
    return known or ("LFW" if lfw.is_view2(path) else None)


def _aligned_in(place: Path) -> Iterator[Path]:
    if (place / MANIFEST_NAME).is_file():
        yield place
        return
    folders = sorted(path.parent for path in place.glob(f"*/{MANIFEST_NAME}"))
    if not folders:
        raise InputError(
            "--data",
            "must be a folder made by `faceverif align`, or one that holds some",
            got=place,
            fix=f"Run: faceverif align PHOTOS {place}/lfw",
        )
    yield from folders


def _opening(folder: Path) -> str:
    """The longest benchmark's name that the folder's begins with; empty where there is none."""
    known = {*map(_letters, BENCHMARKS), *_SHARED.values()}
    name = _letters(folder.resolve().name)
    return max((opening for opening in known if name.startswith(opening)), key=len, default="")


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
