"""What a suite consists of: which files below a folder are protocols, what each is called, and its photos.

Lists have the names that `list_names` says; a `.bin` is LFW's by its photos, another benchmark's by its file.
Aligned sets are known by their names: CALFW and CPLFW call their photos as LFW does, and they are others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.dataset.manifest import MANIFEST_NAME
from data_prep.errors import InputError, printable
from data_prep.printed_command import printed_command
from data_prep.protocols import FORMATS, VerificationProtocol, cfp, insightface_bin, protocol_alone
from data_prep.protocols.benchmarks import (
    BENCHMARKS,
    FURTHER_BENCHMARKS,
    benchmark_named,
    size_of,
    without_pairs,
)
from data_prep.protocols.halves import is_second_half, is_training_half
from data_prep.protocols.lfw import TRAIN_NAME
from data_prep.protocols.list_text import LIST_ENDINGS, unknown_list
from data_prep.protocols.own_lists import BENCHMARK_OF, BENCHMARKS_OF_BINS, file_name
from data_prep.protocols.photo_sets import set_letters
from data_prep.protocols.spelling import letters
from data_prep.walk import walk

_SHORTEST = 3  # letters by which a set may serve several lists, as `cfp` serves CFP-FF and CFP-FP


@dataclass(frozen=True)
class SuiteList:
    """A protocol below a suite's folder.

    Attributes:
        path: where it lies.
        title: of its column: the benchmark's name, or else the list's own.
        called: the letters of its name, by which its aligned set is found.
        protocol: its pairs; None where it cannot be used.
        reason: why not.
    """

    path: Path
    title: str
    called: str
    protocol: VerificationProtocol | None = None
    reason: str = ""


def find_lists(folder: Path, aligned: Sequence[Path], *, allow_partial: bool) -> list[SuiteList]:
    """The protocols below a folder: every list of pairs and `.bin`, and CFP's folders Split/FF and Split/FP.

    A text file that is no list of pairs counts only if it is named after a benchmark or an aligned set.

    Args:
        folder: where to look; links are followed.
        aligned: the aligned sets.
        allow_partial: as for `protocol_alone`.

    Raises:
        InputError: no such folder, or no protocol in it.
    """
    sets = {set_letters(place) for place in aligned} - {""}
    found = [
        _suite_list(path, allow_partial=allow_partial)
        for path in _everything_below(folder)
        if _is_meant(path, sets)
    ]
    if not found:
        raise InputError(
            "--suite",
            "must be a folder with lists of pairs, such as pairs.txt, Protocol/Split, pairs_CALFW.txt or "
            "agedb_30.bin",
            got=folder,
            fix="Put them below it.",
        )
    return found


def find_aligned_sets(places: Sequence[Path]) -> list[Path]:
    """Aligned folders: each place itself, or those directly in it.

    Raises:
        InputError: a place is none and holds none.
    """
    return [folder for place in places for folder in _aligned_in(place)]


def set_of(called: str, aligned: Sequence[Path], *, others: Collection[str] = ()) -> Path | None:
    """The aligned set of a list's photos, by its name.

    The first of these is taken: the set with the list's name (`lfw-112` for LFW); a set whose name begins
    with it (`lfw-deepfunneled`); a set whose name is the beginning of it (`cfp` for CFP-FF). A set with the
    name of another list is not taken: a list `lfw_masked` never runs on the set `lfw`.

    Args:
        called: the list's letters, as `SuiteList.called`.
        aligned: the sets.
        others: the letters of all lists.

    Raises:
        InputError: several fit equally well.
    """
    if not called:  # a name of signs alone, which says nothing
        return None
    known = {called, *others, *map(letters, (*BENCHMARKS, *FURTHER_BENCHMARKS))}
    names = {folder: set_letters(folder) for folder in aligned}
    opening = {
        folder: max((each for each in known if name.startswith(each)), key=len, default="")
        for folder, name in names.items()
    }
    beginnings = {called[:end] for end in range(_SHORTEST, len(called))} - known
    for fitting in (
        [folder for folder in aligned if names[folder] == called],
        [folder for folder in aligned if opening[folder] == called],
        [folder for folder in aligned if names[folder] in beginnings],
    ):
        if len(fitting) > 1:
            raise InputError(
                "--data",
                f"must hold one aligned set for {called}",
                got=", ".join(map(str, fitting)),
                fix="Give only the one to be used.",
            )
        if fitting:
            return fitting[0]
    return None


def _is_meant(path: Path, sets: Collection[str]) -> bool:
    if cfp.FORMAT.recognises(path):
        return True
    if path.suffix.lower() not in {*LIST_ENDINGS, ".bin"} or path.name == TRAIN_NAME or not path.is_file():
        return False
    if is_second_half(path) or is_training_half(path):
        return False
    called = without_pairs(path.stem)
    if called in sets or benchmark_named(path.stem):
        return True
    is_bin = path.suffix.lower() == ".bin"
    return not is_bin and any(known.recognises(path) for known in FORMATS)


def _suite_list(path: Path, *, allow_partial: bool) -> SuiteList:
    title, called = _title(path, path.stem)
    try:
        if not any(known.recognises(path) for known in FORMATS):
            raise unknown_list(path)
        protocol = protocol_alone(path, allow_partial=allow_partial)
        title, called = _title(path, protocol.name)
        if benchmark_named(title) == title and protocol.official is None:
            protocol = protocol_alone(path, allow_partial=allow_partial, official=size_of(title))
    except InputError as error:
        return SuiteList(path, title, called, reason=str(error))
    if len(protocol.scored_folds) < len(np.unique(protocol.fold)):
        reason = "it is for choosing settings: its threshold is chosen on a part of its own."
        return SuiteList(path, title, called, reason=reason)
    return SuiteList(path, title, called, protocol)


def _title(path: Path, name: str) -> tuple[str, str]:
    """The title of a list's column, and the letters by which its aligned set is found.

    Args:
        path: of the list.
        name: its protocol's, or its file's where it cannot be read.
    """
    is_bin = insightface_bin.FORMAT.recognises(path)
    if name in BENCHMARK_OF and not is_bin:
        return BENCHMARK_OF[name], letters(BENCHMARK_OF[name])
    if path.is_dir():  # CFP's, which could not be read or holds other pairs
        cfps = f"CFP-{path.name}"
        return cfps if name == path.stem else name, letters(cfps)
    calling = path.stem if is_bin else name
    nameless = not without_pairs(calling)  # `pairs.txt`, which its folder tells from others
    called = path.parent.name if nameless else calling
    if name in BENCHMARK_OF:  # a `.bin`, whose photos are called after the file
        return BENCHMARK_OF[name], without_pairs(called)
    benchmark = benchmark_named(called)
    by_pairs = BENCHMARKS_OF_BINS if is_bin else BENCHMARK_OF.values()
    if benchmark is not None and benchmark not in by_pairs:
        return benchmark, letters(benchmark)
    title = f"{path.parent.name}/{path.name}" if nameless else file_name(path) if is_bin else name
    return printable(title).replace("|", "-"), without_pairs(called)  # a bar would end the table's cell


def _everything_below(folder: Path) -> Iterator[Path]:
    """Folders and files, in order; links are followed, and no folder is entered twice."""
    for place, files in walk(folder, field="--suite"):
        yield place
        yield from files


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
            fix="Run: " + printed_command("align", "PHOTOS", place / "lfw"),
        )
    yield from folders
