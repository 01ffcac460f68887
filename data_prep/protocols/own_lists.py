"""Which lists are the authors' own: known by their pairs, whatever the file is called.

The fingerprint is of the parsed pairs in their order, not of the file. So LFW's list stays LFW's when an
editor gives it Windows line ends or when it is published as a CSV, and a list of other pairs is never taken
for it. A `.bin` names no photo, but a photo has the same bytes in all its pairs, and LFW's pairs are known by
which photos are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.protocols.benchmarks import benchmark_named
from data_prep.protocols.photo_names import common_folder, without_picture_ending
from data_prep.protocols.spelling import letters

LFW_VIEW1, LFW_VIEW2 = "lfw-view1", "lfw-view2"
# From LFW's files, whose checksums `fetching.known_sets` has, and from Protocol/ as CFP's authors publish it.
_OWN = {
    "2ec8a35d4e41577de6f863fec76fdb2b52f7b2c27609e3b799b0ad240b87ec64": LFW_VIEW2,
    "06552e89c60f30121e3e85e3133cfe95d4bfec2d52e7e1712314790ca836aa01": LFW_VIEW1,
    "b28549c6ba02fb5f7c90b8a44cab812f9fbe701ce358b709fdaf471a206727e8": "cfp-ff",
    "29129c5029850ddea34c29f9c3ffb877e6c2a56790eb12352e011c795f02b902": "cfp-fp",
}

# The repeats and flags of lfw-view2's pairs, which InsightFace's lfw.bin has in their order.
_OWN_BINS = {"449ffd8a763123d513b28a4415b7d2b07bbc0dba11e4b4d05670bb845ef268e5": LFW_VIEW2}

BENCHMARK_OF = {LFW_VIEW2: "LFW", "cfp-ff": "CFP-FF", "cfp-fp": "CFP-FP", "talfw": "TALFW"}
BENCHMARKS_OF_BINS = {BENCHMARK_OF[name] for name in _OWN_BINS.values()}


def own_name(
    left: Iterable[str], right: Iterable[str], same: NDArray[np.bool_], fold: NDArray[np.int64]
) -> str | None:
    """The name of the protocol whose authors published exactly these pairs and folds; None for other pairs.

    Args:
        left, right: (pairs,) names of photos, with or without their endings and the folder above them all.
        same: (pairs,).
        fold: (pairs,).
    """
    return _OWN.get(fingerprint(left, right, same, fold))


def own_bin_name(photos: Iterable[Hashable], same: NDArray[np.bool_]) -> str | None:
    """The name of the protocol whose photos repeat like these; None for other pairs, and for all but LFW's.

    Args:
        photos: two a pair: 0 and 1, 2 and 3, ...; equal where they are the same photo.
        same: (pairs,).
    """
    return _OWN_BINS.get(repeats_fingerprint(photos, same))


def repeats_fingerprint(photos: Iterable[Hashable], same: NDArray[np.bool_]) -> str:
    """SHA-256 of where each photo stood first, and of the flags; arguments as for `own_bin_name`."""
    first: dict[Hashable, int] = {}
    places = [first.setdefault(photo, place) for place, photo in enumerate(photos)]
    return hashlib.sha256(" ".join(map(str, [*places, *same.astype(int)])).encode()).hexdigest()


def fingerprint(
    left: Iterable[str], right: Iterable[str], same: NDArray[np.bool_], fold: NDArray[np.int64]
) -> str:
    """SHA-256 of the pairs in their order; arguments as for `own_name`."""
    left, right = tuple(left), tuple(right)
    above = common_folder([*left, *right])
    begin = len(above) + 1 if above else 0
    numbers = np.unique(fold, return_inverse=True)[1]
    digest = hashlib.sha256()
    for one, other, kind, number in zip(left, right, same.tolist(), numbers.tolist(), strict=True):
        names = (without_picture_ending(name[begin:]) for name in (one, other))
        digest.update("\t".join([*names, str(int(kind)), str(number)]).encode() + b"\n")
    return digest.hexdigest()


def file_name(path: Path) -> str:
    """The name of another list: its file's, with the ending where the stem is the name of a known one."""
    names_own = letters(path.stem) in map(letters, _OWN.values())
    names_benchmark = benchmark_named(path.stem) in BENCHMARK_OF.values()
    return path.name if names_own or names_benchmark else path.stem
