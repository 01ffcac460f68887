"""RFW as a whole: the folder `txts` of its authors, with `African/African_pairs.txt` and so on.

Wang et al. (2019), "Racial Faces in the Wild: Reducing Racial Bias by Information Maximization Adaptation
Network". Each group's list is a protocol of its own, in LFW's form. Together they let the groups be compared
at one threshold.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data_prep.errors import InputError
from data_prep.protocols import lfw
from data_prep.protocols.base import PairFormat, ProtocolSize, VerificationProtocol
from data_prep.protocols.benchmarks import RFW_GROUPS, size_of
from data_prep.protocols.list_names import RFW_COLUMN


def _lists(folder: Path) -> list[Path]:
    return [folder / group / f"{group}_pairs.txt" for group in RFW_GROUPS]


def _load(folder: Path) -> VerificationProtocol:
    _refuse_missing(folder)
    groups = [lfw.FORMAT.load(path) for path in _lists(folder)]
    sizes = [size_of(f"RFW-{group}") for group in RFW_GROUPS]
    return VerificationProtocol.of_files(
        *_lists(folder),
        name="rfw",
        left=[photo for each in groups for photo in each.left],
        right=[photo for each in groups for photo in each.right],
        same=np.concatenate([each.same for each in groups]),
        fold=np.concatenate([each.fold for each in groups]),
        fold_rule=f"in each fold the same fold of all groups: {groups[0].fold_rule}",
        reading=f"RFW's four groups: {groups[0].reading}",
        official=ProtocolSize(sum(size.pairs for size in sizes), sizes[0].folds),
        columns={RFW_COLUMN: tuple(race for each in groups for race in each.columns[RFW_COLUMN])},
    )


def _refuse_missing(folder: Path) -> None:
    """Stop where a group has no list: the others alone are not RFW."""
    there = [path for path in _lists(folder) if lfw.FORMAT.recognises(path)]
    missing = [str(path.relative_to(folder)) for path in _lists(folder) if path not in there]
    if missing:
        raise InputError(
            str(folder),
            "must hold the lists of RFW's four groups",
            got=f"no {', '.join(missing)}",
            fix=f"Copy it from RFW's folder txts, or give the list of one group, such as {there[0]}.",
        )


def _recognises(path: Path) -> bool:
    return path.is_dir() and any(map(lfw.FORMAT.recognises, _lists(path)))


FORMAT = PairFormat("RFW's folder txts with the lists of its four groups", _recognises, _load)
