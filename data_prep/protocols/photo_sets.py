"""Whose photos an aligned set holds, by the name of its folder, and whether a protocol is about them.

CALFW, CPLFW, XQLFW, MLFW and TALFW call their photos as LFW does, and they are others. So a list of one on
the photos of another would run, and its result would bear the wrong name. The folder in XQLFW's own archive
even has a name that begins with LFW's: a set that is called as the folder of a known archive is that one's.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from data_prep.alignment import TEMPLATES
from data_prep.errors import InputError
from data_prep.fetching.known_sets import KNOWN_SETS
from data_prep.protocols.base import VerificationProtocol
from data_prep.protocols.benchmarks import BENCHMARKS, FURTHER_BENCHMARKS, PHOTOS_OF, benchmark_named, size_of
from data_prep.protocols.list_names import TALFW_READING
from data_prep.protocols.own_lists import BENCHMARK_OF, LFW_VIEW1, LFW_VIEW2
from data_prep.protocols.spelling import letters

# The folders of known archives that are not called after their set.
_SET_OF_FOLDER = {
    letters(file.folder): letters(known.name)
    for known in KNOWN_SETS.values()
    for file in known.files
    if file.folder is not None and not letters(file.folder).startswith(letters(known.name))
}


def set_letters(folder: Path) -> str:
    """The letters of an aligned set's name, without the size of its crops at the end.

    A set that is called as the folder of a known archive has the name of that one.
    """
    sizes = "|".join(sorted({str(template.crop_px) for template in TEMPLATES.values()}))
    name = letters(re.sub(rf"[-_. ]({sizes})$", "", folder.resolve().name))
    for published, known in _SET_OF_FOLDER.items():
        if name.startswith(published):
            return known + name.removeprefix(published)
    return name


def photos_of_set(folder: Path) -> str | None:
    """The benchmark whose photos a set holds, by how its name begins (`lfw-deepfunneled`); None for none."""
    name = set_letters(folder)
    opening = [each for each in (*BENCHMARKS, *FURTHER_BENCHMARKS) if name.startswith(letters(each))]
    benchmark = max(opening, key=len, default=None)
    return PHOTOS_OF.get(benchmark, benchmark) if benchmark is not None else None


def on_photos(protocol: VerificationProtocol, folder: Path) -> VerificationProtocol:
    """The protocol under the name that it has on these photos: LFW's pairs on TALFW's are TALFW.

    Args:
        protocol: the pairs.
        folder: where the photos lie; only its name counts.

    Raises:
        InputError: it is a benchmark's, and the folder has the name of another one's photos.
    """
    there = photos_of_set(folder)
    if protocol.name == LFW_VIEW2 and there == "TALFW":
        return as_talfw(protocol, why=f"as the folder {folder.name} says")
    wanted = photos_missed(protocol, folder)
    if wanted is None:
        return protocol
    called = letters(wanted.partition("-")[0])
    raise InputError(
        "--data",
        f"must hold the photos of {wanted}, which {protocol.name} is about; other sets call theirs the same",
        got=f"{folder}, whose name is that of {there}'s photos" if there else folder,
        fix=f"Give the aligned photos of {wanted}; if these are they, name their folder {called}.",
    )


def photos_missed(protocol: VerificationProtocol, folder: Path) -> str | None:
    """The benchmark that a protocol is about, if a folder has the name of another one's photos; else None."""
    there, wanted = photos_of_set(folder), _photos_of(protocol)
    if protocol.name == LFW_VIEW2 and there == "TALFW":
        return None
    return None if wanted == there or (there is None and wanted != "TALFW") else wanted


def as_talfw(protocol: VerificationProtocol, *, why: str) -> VerificationProtocol:
    """LFW's own pairs under the name that they have on TALFW's photos."""
    return replace(
        protocol,
        name="talfw",
        reading=f"{TALFW_READING}, {why}",
        official=protocol.official or size_of("TALFW"),
    )


def _photos_of(protocol: VerificationProtocol) -> str | None:
    """The benchmark whose photos a protocol names; None for another protocol, and for a `.bin`."""
    benchmark = "LFW" if protocol.name == LFW_VIEW1 else BENCHMARK_OF.get(protocol.name)
    if benchmark is None and "." not in protocol.name:
        benchmark = benchmark_named(protocol.name)
    return PHOTOS_OF.get(benchmark, benchmark) if benchmark is not None else None
