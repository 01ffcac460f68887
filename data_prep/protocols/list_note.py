"""The line above a list that faceverif made: how it was made, and what it must hold."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from data_prep.protocols.base import ProtocolSize
from data_prep.protocols.list_text import opening_comments
from data_prep.protocols.own_lists import fingerprint

_LINE = re.compile(
    r"# (?P<maker>faceverif data [a-z]+): (?P<holds>[^;]+); (?P<how>.+); sha256 (?P<sha256>[0-9a-f]{64})"
)
_PAIRS = re.compile(r"(?P<pairs>[0-9,]+) pairs in (?P<folds>[0-9,]+) folds")


class ListNote(NamedTuple):
    """What the line says.

    Attributes:
        maker: the command that made the list.
        holds: what is in it, in words.
        how: it was made, in words.
        sha256: hash of its pairs or photos.
    """

    maker: str
    holds: str
    how: str
    sha256: str

    @classmethod
    def of_pairs(
        cls,
        left: tuple[str, ...],
        right: tuple[str, ...],
        same: NDArray[np.bool_],
        fold: NDArray[np.int64],
        *,
        how: str,
    ) -> Self:
        """The note of a list of pairs."""
        holds = f"{len(left):,} pairs in {len(np.unique(fold)):,} folds"
        return cls("faceverif data pairs", holds, how, fingerprint(left, right, same, fold))

    @classmethod
    def of_photos(cls, photos: Iterable[tuple[str, str]], *, holds: str, how: str) -> Self:
        """The note of a list of photos with their people."""
        return cls("faceverif data gallery", holds, how, photos_sha256(photos))

    @classmethod
    def above(cls, path: Path) -> Self | None:
        """The note of a list; None where it has none."""
        found = next(filter(None, map(_LINE.fullmatch, opening_comments(path))), None)
        return None if found is None else cls(**found.groupdict())

    @property
    def size(self) -> ProtocolSize | None:
        """Of a whole list of pairs."""
        found = _PAIRS.fullmatch(self.holds)
        return found and ProtocolSize(*(int(number.replace(",", "")) for number in found.groups()))

    def line(self) -> str:
        """As it stands in the list."""
        return f"# {self.maker}: {self.holds}; {self.how}; sha256 {self.sha256}"

    def reading(self, found: str) -> str:
        """What is said of a list with this note.

        Args:
            found: the hash of what it holds.
        """
        made = f"`{self.maker}` made it: {self.how}"
        return made if found == self.sha256 else f"it was changed after {made}"


def photos_sha256(photos: Iterable[tuple[str, str]]) -> str:
    """Hash of photos with their people, in their order."""
    lines = (f"{photo}\t{identity}\n" for photo, identity in photos)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
