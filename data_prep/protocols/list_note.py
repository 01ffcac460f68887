"""The line above a list that `faceverif data pairs` made: how it was made, and what it must hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from data_prep.protocols.base import ProtocolSize
from data_prep.protocols.list_text import opening_comments
from data_prep.protocols.own_lists import fingerprint

_MAKER = "faceverif data pairs"
_LINE = re.compile(
    rf"# {_MAKER}: (?P<pairs>[0-9,]+) pairs in (?P<folds>[0-9,]+) folds; (?P<how>.+); "
    r"pairs sha256 (?P<sha256>[0-9a-f]{64})"
)


class ListNote(NamedTuple):
    """What the line says.

    Attributes:
        size: of the whole list.
        how: it was made, in words.
        sha256: the fingerprint of its pairs; see `own_lists`.
    """

    size: ProtocolSize
    how: str
    sha256: str

    @classmethod
    def of(
        cls,
        left: tuple[str, ...],
        right: tuple[str, ...],
        same: NDArray[np.bool_],
        fold: NDArray[np.int64],
        *,
        how: str,
    ) -> Self:
        """The note of these pairs."""
        size = ProtocolSize(len(left), len(np.unique(fold)))
        return cls(size, how, fingerprint(left, right, same, fold))

    @classmethod
    def above(cls, path: Path) -> Self | None:
        """The note of a list; null where it has none."""
        found = next(filter(None, map(_LINE.fullmatch, opening_comments(path))), None)
        if found is None:
            return None
        pairs, folds = (int(found[name].replace(",", "")) for name in ("pairs", "folds"))
        return cls(ProtocolSize(pairs, folds), found["how"], found["sha256"])

    def line(self) -> str:
        """As it stands in the list."""
        pairs, folds = self.size
        return f"# {_MAKER}: {pairs:,} pairs in {folds:,} folds; {self.how}; pairs sha256 {self.sha256}"

    def reading(self, found: str) -> str:
        """What is said of a list with this note.

        Args:
            found: the fingerprint of its pairs.
        """
        made = f"`{_MAKER}` made it: {self.how}"
        return made if found == self.sha256 else f"its pairs were changed after {made}"
