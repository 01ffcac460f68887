"""What of a suite can run: each protocol with the aligned set of its photos, or the reason why not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from data_prep.printed_command import printed_command
from data_prep.protocols import VerificationProtocol, names_any, pairs_within, with_repeats_counted
from data_prep.protocols.benchmarks import BENCHMARKS, PHOTOS_OF
from data_prep.protocols.photo_sets import as_talfw
from data_prep.protocols.spelling import letters
from data_prep.protocols.suite_lists import SuiteList, find_aligned_sets, find_lists, set_of
from faceverif.verification.scoring import PairPhotos


@dataclass(frozen=True)
class Planned:
    """A protocol that can run.

    Attributes:
        protocol: its pairs, or those of them that are there.
        dataset: the aligned set of its photos.
        photos: those of the pairs, in that set.
    """

    protocol: VerificationProtocol
    dataset: AlignedDataset
    photos: PairPhotos


def plan_suite(
    suite: Path, data: Sequence[Path], *, allow_partial: bool
) -> tuple[dict[str, Planned], dict[str, str]]:
    """What runs, and why the rest does not, before the first photo is embedded; both by title.

    Args:
        suite: a folder with protocols anywhere below it.
        data: aligned folders, or folders of such.
        allow_partial: run what is there of a protocol that is not whole.

    Raises:
        InputError: nothing runs.
    """
    aligned = find_aligned_sets(data)
    lists = _with_talfw(find_lists(suite, aligned, allow_partial=allow_partial), aligned)
    planned: dict[str, Planned] = {}
    missing: dict[str, str] = {}
    load_set = cache(AlignedDataset.load)  # two protocols may share it
    called = {each.called for each in lists if each.protocol is not None}
    for title in dict.fromkeys([*BENCHMARKS, *sorted(each.title for each in lists)]):
        usable = [each for each in lists if each.title == title and each.protocol is not None]
        unusable = [each for each in lists if each.title == title and each.protocol is None]
        missing |= {(each.path.name if usable else title): each.reason for each in unusable}
        try:
            if usable:
                folder = _set_for(usable[0], aligned, others=called)
                planned[title] = _planned(usable, load_set(folder), allow_partial=allow_partial)
            elif not unusable:
                missing[title] = f"no protocol in {suite}."
        except InputError as error:
            missing[title] = str(error)
    if not planned:
        listed = {each.title for each in lists}
        raise _nothing_runs({title: reason for title, reason in missing.items() if title in listed})
    return planned, missing


def _with_talfw(lists: list[SuiteList], aligned: Sequence[Path]) -> list[SuiteList]:
    """TALFW has no list of its own: LFW's serves it where its photos are there."""
    own = [each for each in lists if each.title == "LFW" and each.protocol is not None]
    if not own or own[0].path.suffix == ".bin" or any(each.title == "TALFW" for each in lists):
        return lists
    if set_of("talfw", aligned) is None or own[0].protocol is None:
        return lists
    protocol = as_talfw(own[0].protocol, why="as the folder of the photos says")
    return [*lists, SuiteList(own[0].path, "TALFW", "talfw", protocol)]


def _nothing_runs(reasons: Mapping[str, str]) -> InputError:
    """The error of a suite whose protocols, by title, cannot run for these reasons."""
    listed = " ".join(f"{title}: {reason}" for title, reason in reasons.items())
    return InputError(
        "--suite",
        "must hold a protocol whose aligned photos are there",
        got=listed.removesuffix("."),
        fix="Give its photos; where some are there, --allow-partial gives a number that is not comparable.",
    )


def _set_for(each: SuiteList, aligned: Sequence[Path], *, others: Collection[str]) -> Path:
    folder = set_of(each.called, aligned, others=others)
    if folder is None and each.title in PHOTOS_OF:
        folder = set_of(letters(PHOTOS_OF[each.title]), aligned, others=others)
    if folder is None:
        raise InputError(
            "--data",
            f"must hold an aligned set called {each.called}, as the list is",
            got=", ".join(map(str, aligned)),
            fix="Name the list after the set of its photos, or run: "
            + printed_command("align", "PHOTOS", each.called),
        )
    return folder


def _planned(lists: Sequence[SuiteList], dataset: AlignedDataset, *, allow_partial: bool) -> Planned:
    """The protocol, of those with one title, that names photos of the set; the set must hold them all."""
    loaded = [(each.path, each.protocol) for each in lists if each.protocol is not None]
    fitting = [(path, protocol) for path, protocol in loaded if names_any(protocol, dataset)]
    if len(fitting) != 1:
        names = ", ".join(str(path) for path, _ in fitting or loaded)
        raise InputError(
            "--suite",
            f"must hold one protocol that names photos of {dataset.root}",
            got=names if fitting else f"none: {names} name others",
            fix="Remove the one not meant." if fitting else "Align the photos that they name.",
        )
    [(_, protocol)] = fitting
    protocol = with_repeats_counted(pairs_within(protocol, dataset) if allow_partial else protocol, dataset)
    return Planned(protocol, dataset, PairPhotos.of(protocol, dataset))
