"""What a verification protocol is: pairs, same or not, and the fold of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
