"""What a verification protocol is: pairs, same or not, and the fold of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.file_hash import joint_hash
from data_prep.protocols.folds import deal_folds, one_sided_fold
from data_prep.titles import Titled


class ProtocolSize(NamedTuple):
    """The number of pairs and of folds."""

    pairs: int
    folds: int

    def of(self, whole: ProtocolSize) -> str:
        """This part beside the whole, for people."""
        return f"{self.pairs:,} of {whole.pairs:,} pairs, {self.folds} of {whole.folds} folds"


@dataclass(frozen=True)
class VerificationProtocol(Titled):
    """Pairs of photos and how accuracy is read from them.

    Attributes:
        name: such as `lfw-view2`; stands beside every number.
        left, right: one photo key per pair: a manifest's `photo`, with or without its file ending.
        same: (pairs,) True for a genuine pair.
        fold: (pairs,) fold number; the threshold of a scored fold comes from all other folds.
        scored_folds: the folds that count; View 2 scores all ten, View 1 only the test half.
        fold_rule: one line saying where the folds come from.
        sha256: hash of the pair file(s).
        reading: one line saying what the list is taken for and how it was read.
        official: size of the whole protocol, where its authors fixed one.
        partial: which part this is, such as `1,234 of 7,000 pairs, 2 of 10 folds`; None where it is whole.
        columns: what else the list says of its pairs: name -> (pairs,) texts, empty where a line has none.
        lines: (pairs,) where each stands in its file; empty where its format does not say.
    """

    name: str
    left: tuple[str, ...]
    right: tuple[str, ...]
    same: NDArray[np.bool_]
    fold: NDArray[np.int64]
    scored_folds: tuple[int, ...]
    fold_rule: str
    sha256: str
    reading: str
    official: ProtocolSize | None = None
    partial: str | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lines: tuple[int, ...] = ()

    @classmethod
    def of_files(
        cls,
        *files: Path,
        name: str,
        left: Sequence[str],
        right: Sequence[str],
        same: NDArray[np.bool_],
        fold: NDArray[np.int64],
        fold_rule: str,
        reading: str,
        scored_folds: tuple[int, ...] | None = None,
        official: ProtocolSize | None = None,
        columns: Mapping[str, tuple[str, ...]] | None = None,
        lines: Sequence[int] = (),
    ) -> VerificationProtocol:
        """What was read from these files, whose content it is hashed by; without `scored_folds` all count."""
        return cls(
            name=name,
            left=tuple(left),
            right=tuple(right),
            same=same,
            fold=fold,
            scored_folds=scored_folds or tuple(np.unique(fold).tolist()),
            fold_rule=fold_rule,
            sha256=joint_hash(*files),
            reading=reading,
            official=official,
            columns=columns or {},
            lines=tuple(lines),
        )

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(pairs,) True for the pairs that the reported numbers are about."""
        return np.isin(self.fold, self.scored_folds)

    @property
    def size(self) -> ProtocolSize:
        """What is there."""
        return ProtocolSize(len(self), len(np.unique(self.fold)))

    def part(self, kept: NDArray[np.bool_]) -> VerificationProtocol:
        """Some of the pairs, which says so in `partial`.

        Folds stay as they are where a threshold can be chosen for each; else the pairs are dealt again.

        Args:
            kept: (pairs,) True for those.

        Raises:
            InputError: no threshold can be chosen with them, because genuine or impostor pairs are missing.
        """
        fold, whole = self.fold[kept], self.official or self.size
        chosen = replace(
            self,
            left=tuple(compress(self.left, kept)),
            right=tuple(compress(self.right, kept)),
            same=self.same[kept],
            fold=fold,
            scored_folds=tuple(number for number in self.scored_folds if number in fold),
            columns={name: tuple(compress(texts, kept)) for name, texts in self.columns.items()},
            lines=tuple(compress(self.lines, kept)),
        )
        if not chosen.scored_folds or one_sided_fold(chosen.same, fold, chosen.scored_folds) is not None:
            return chosen._dealt_again(whole)
        return replace(chosen, partial=chosen.size.of(whole))

    def _dealt_again(self, whole: ProtocolSize) -> VerificationProtocol:
        fold, rule = deal_folds(self.name, self.same)
        return replace(
            self,
            fold=fold,
            scored_folds=tuple(np.unique(fold).tolist()),
            fold_rule=f"too little is left of the folds ({self.fold_rule}): {rule}",
            partial=f"{len(self):,} of {whole.pairs:,} pairs, in folds of its own",
        )

    def __len__(self) -> int:
        return len(self.left)


class PairFormat(NamedTuple):
    """A kind of pair file.

    Attributes:
        description: for messages that list the known kinds.
        recognises: whether this is one, by its name and how it begins.
        load: read all of it.
    """

    description: str
    recognises: Callable[[Path], bool]
    load: Callable[[Path], VerificationProtocol]
