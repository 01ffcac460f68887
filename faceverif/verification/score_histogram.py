"""How the similarities of a calibration's pairs are spread: counts per bin, small enough to store."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

BINS = 100

_Counts = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=BINS, max_length=BINS)]


class ScoreHistogram(BaseModel):
    """Pairs per bin; the bins divide [-1, 1], the range of a cosine, evenly.

    Attributes:
        genuine: (BINS,) genuine pairs.
        impostor: (BINS,) impostor pairs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    genuine: _Counts
    impostor: _Counts

    @classmethod
    def of(cls, scores: NDArray[np.float64], same: ArrayLike) -> ScoreHistogram:
        """The histogram of scored pairs.

        Args:
            scores: (pairs,) cosines; what lies beyond [-1, 1] counts in the outermost bin.
            same: (pairs,) whether a pair is genuine.
        """
        genuine = np.asarray(same, dtype=bool)
        return cls(genuine=_counts(scores[genuine]), impostor=_counts(scores[~genuine]))


def bin_edges() -> NDArray[np.float64]:
    """(BINS + 1,) where bins begin and end."""
    return np.linspace(-1, 1, BINS + 1)


def _counts(scores: NDArray[np.float64]) -> tuple[int, ...]:
    counts, _ = np.histogram(np.clip(scores, -1, 1), bin_edges())
    return tuple(counts.tolist())
