"""What a verification protocol is: pairs, same or not, and the fold of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError


@dataclass(frozen=True)
class VerificationProtocol:
    """Pairs of photos and how accuracy is read from them.

    Attributes:
        name: such as `lfw-view2`; stands beside every number.
        left, right: one photo key per pair: a manifest's `photo`, with or without its file ending.
        same: (pairs,) True for a genuine pair.
        fold: (pairs,) fold number; the threshold of a scored fold comes from all other folds.
        scored_folds: the folds that count; View 2 scores all ten, View 1 only the test half.
        fold_rule: one line saying where the folds come from.
        sha256: hash of the pair file(s).
    """

    name: str
    left: tuple[str, ...]
    right: tuple[str, ...]
    same: NDArray[np.bool_]
    fold: NDArray[np.int64]
    scored_folds: tuple[int, ...]
    fold_rule: str
    sha256: str

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(pairs,) True for the pairs that the reported numbers are about."""
        return np.isin(self.fold, self.scored_folds)

    def __len__(self) -> int:
        return len(self.left)


class PairFormat(NamedTuple):
    """A kind of pair file.

    Attributes:
        description: for the message that lists what is known.
        recognises: whether a file that opens with this line is one.
        load: read the whole file.
    """

    description: str
    recognises: Callable[[str], bool]
    load: Callable[[Path], VerificationProtocol]


def read_lines(path: Path) -> list[str]:
    """The lines of a pair file, without their ends and without empty ones at its end; at least one.

    Raises:
        InputError: no such file, not UTF-8 text, or empty.
    """
    if not path.is_file():
        raise InputError("--protocol", "must be a pair file", got=path, fix="Check the path.")
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except UnicodeDecodeError as error:
        raise InputError(
            str(path), "must be UTF-8 text", got=f"byte {error.start}", fix="Convert it."
        ) from error
    if lines == [""]:
        raise InputError(str(path), "must hold pairs", got="an empty file", fix="Take a whole copy of it.")
    return lines
