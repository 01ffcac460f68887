"""Many pairs of photos under one model: each photo is aligned and embedded once, and no row is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError, printable
from data_prep.progress import progress
from faceverif.verification.collapse import collapse_warning_of_photos
from faceverif.verification.compare import Comparer
from faceverif.verification.photo_pairs import PhotoPair


@dataclass(frozen=True)
class ComparedPair:
    """A row's answer.

    Attributes:
        pair: the row.
        threshold: pairs of at least this similarity are one person.
        similarity: cosine of the embeddings; None where the row could not be compared.
        error: why not; empty otherwise.
    """

    pair: PhotoPair
    threshold: float
    similarity: float | None = None
    error: str = ""

    @property
    def same(self) -> bool | None:
        """The decision, if there is one."""
        return None if self.similarity is None else self.similarity >= self.threshold

    def as_json(self) -> dict[str, Any]:
        """The row and its answer, JSON-able."""
        return {
            "first": self.pair.first,
            "second": self.pair.second,
            "similarity": self.similarity,
            "same": self.same,
            "error": self.error or None,
        }

    def text(self) -> str:
        """One line for a terminal."""
        if self.similarity is None:
            return printable(f"error: {self.error}")
        sign = ">=" if self.same else "<"
        return printable(
            f"{'same person' if self.same else 'different people'}: similarity {self.similarity:.4f} {sign} "
            f"{self.threshold:.4f}: {self.pair.first} {self.pair.second}"
        )


class ComparedPairs(NamedTuple):
    """The answers.

    Attributes:
        rows: in the order of the pairs.
        warning: that nearly all photos look alike to the model; None where they do not.
    """

    rows: list[ComparedPair]
    warning: str | None


# The embedding of a photo, or why there is none: as text, since an exception would keep the decoded photo.
_Known = dict[Path, NDArray[np.float64] | str]


def compare_pairs(comparer: Comparer, pairs: Sequence[PhotoPair]) -> ComparedPairs:
    """Compare every pair; a photo that cannot be used fails the rows that name it, and no other.

    Args:
        comparer: the model with its threshold.
        pairs: in the order of the answers.
    """
    known: _Known = {}
    answers = []
    with progress("compare", total=len(pairs), unit="pairs") as advance:
        for pair in pairs:
            answers.append(_compared(comparer, pair, known))
            advance(1, "")
    return ComparedPairs(answers, _collapse(comparer, answers, known))


def _collapse(comparer: Comparer, answers: Sequence[ComparedPair], known: _Known) -> str | None:
    """From one photo per pair, since the other may show the same person."""
    firsts = dict.fromkeys(answer.pair.paths[0] for answer in answers if answer.similarity is not None)
    embeddings = np.array([known[photo] for photo in firsts])
    return collapse_warning_of_photos(comparer.embedder, embeddings)


def _compared(comparer: Comparer, pair: PhotoPair, known: _Known) -> ComparedPair:
    threshold = comparer.point.threshold
    try:
        paths = pair.paths
    except InputError as error:
        return ComparedPair(pair, threshold, error=str(error))
    embeddings = []
    for photo in paths:
        found = _embedding(comparer, photo, known)
        if isinstance(found, str):
            return ComparedPair(pair, threshold, error=found)
        embeddings.append(found)
    one, other = embeddings
    return ComparedPair(pair, threshold, similarity=float(one @ other))


def _embedding(comparer: Comparer, photo: Path, known: _Known) -> NDArray[np.float64] | str:
    if photo not in known:
        try:
            known[photo] = comparer.embed([comparer.find(photo)])[0]
        except InputError as error:
            known[photo] = str(error)
    return known[photo]
