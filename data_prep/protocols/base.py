"""What a verification protocol is: pairs, same or not, and the fold of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError


class ProtocolSize(NamedTuple):
    """How many pairs, in how many folds."""

    pairs: int
    folds: int

    def of(self, whole: ProtocolSize) -> str:
        """This part beside the whole, for people."""
        return f"{self.pairs:,} of {whole.pairs:,} pairs, {self.folds} of {whole.folds} folds"


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
        official: size of the whole protocol, where its authors fixed one.
        partial: which part this is, such as `1,234 of 7,000 pairs, 2 of 10 folds`; null where it is whole.
    """

    name: str
    left: tuple[str, ...]
    right: tuple[str, ...]
    same: NDArray[np.bool_]
    fold: NDArray[np.int64]
    scored_folds: tuple[int, ...]
    fold_rule: str
    sha256: str
    official: ProtocolSize | None = None
    partial: str | None = None

    @property
    def title(self) -> str:
        """The name, and which part where it is not whole: for whoever prints a number."""
        return self.name if self.partial is None else f"{self.name} (partial: {self.partial})"

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

        Folds stay as they are where a threshold can be chosen for each; else the pairs are dealt anew.

        Args:
            kept: (pairs,) True for those.

        Raises:
            InputError: no threshold can be chosen with them, for lack of genuine or impostor pairs.
        """
        fold, whole = self.fold[kept], self.official or self.size
        chosen = replace(
            self,
            left=tuple(compress(self.left, kept)),
            right=tuple(compress(self.right, kept)),
            same=self.same[kept],
            fold=fold,
            scored_folds=tuple(number for number in self.scored_folds if number in fold),
        )
        if not chosen.scored_folds or _one_sided_fold(chosen.same, fold, chosen.scored_folds) is not None:
            return chosen._dealt_anew(whole)
        return replace(chosen, partial=chosen.size.of(whole))

    def _dealt_anew(self, whole: ProtocolSize) -> VerificationProtocol:
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
        description: for the message that lists what is known.
        recognises: whether this is one, told by its name and how it begins.
        load: read all of it.
    """

    description: str
    recognises: Callable[[Path], bool]
    load: Callable[[Path], VerificationProtocol]


_LONGEST_OPENING = 4096
_MOST_FOLDS = 10
_LARGEST_FILE = 2**28  # the largest list of the field has a few megabytes


def first_line(path: Path) -> str:
    """How a text file begins; empty for what is no text or no file."""
    return first_lines(path, 1)[0]


def first_lines(path: Path, count: int) -> list[str]:
    """So many opening lines, without their ends; empty ones for what is no text, no file, or shorter."""
    if not path.is_file():
        return [""] * count
    with path.open("rb") as file:
        lines = [file.readline(_LONGEST_OPENING) for _ in range(count)]
    return [line.decode("utf-8-sig", "replace").rstrip() for line in lines]


def deal_folds(name: str, same: NDArray[np.bool_]) -> tuple[NDArray[np.int64], str]:
    """Folds for pairs that have none, each with both kinds, and the rule in words.

    Args:
        name: of the list, for the message.
        same: (pairs,).

    Raises:
        InputError: there are fewer than two pairs of a kind.
    """
    genuine, impostors = int(same.sum()), int((~same).sum())
    folds = min(_MOST_FOLDS, genuine, impostors)
    if folds < 2:
        raise InputError(
            name,
            "must hold at least 2 genuine and 2 impostor pairs, to be dealt into folds",
            got=f"{genuine} genuine, {impostors} impostor",
            fix="Add pairs.",
        )
    order = np.where(same, np.cumsum(same), np.cumsum(~same)) - 1
    rule = f"the i-th genuine and the i-th impostor pair are in fold i mod {folds}"
    return (order % folds).astype(np.int64), rule


def refuse_one_sided(
    name: str, same: NDArray[np.bool_], fold: NDArray[np.int64], *, scored_folds: Sequence[int]
) -> None:
    """A fold's threshold needs both kinds outside it: say so before anything is embedded.

    Raises:
        InputError: genuine or impostor pairs are missing outside a scored fold.
    """
    number = _one_sided_fold(same, fold, scored_folds)
    if number is not None:
        others = same[fold != number]
        raise InputError(
            name,
            f"must hold genuine and impostor pairs outside fold {number}, to choose its threshold there",
            got=f"{int(others.sum())} genuine, {int((~others).sum())} impostor",
            fix="Spread both kinds over at least two folds, or leave the fold column out.",
        )


def _one_sided_fold(
    same: NDArray[np.bool_], fold: NDArray[np.int64], scored_folds: Sequence[int]
) -> int | None:
    """A scored fold outside which a kind is missing; null where there is none."""
    for number in scored_folds:
        others = same[fold != number]
        if others.all() or not others.any():
            return number
    return None


def read_lines(path: Path) -> list[str]:
    """The lines of a pair file, without their ends and without empty ones at its end; at least one.

    Raises:
        InputError: no such file, not UTF-8 text, or empty.
    """
    if not path.is_file():
        raise InputError("--protocol", "must be a pair file", got=path, fix="Check the path.")
    if path.stat().st_size > _LARGEST_FILE:
        raise InputError(
            str(path), "must be a list of pairs", got="a file over 256 MiB", fix="Check the path."
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except UnicodeDecodeError as error:
        raise InputError(
            str(path), "must be UTF-8 text", got=f"byte {error.start}", fix="Convert it."
        ) from error
    if lines == [""]:
        raise InputError(str(path), "must hold pairs", got="an empty file", fix="Take a whole copy of it.")
    return lines
