"""Copies of one photo: similar to the model, and similar pixel by pixel after alignment."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from faceverif.audit.people import People
from faceverif.audit.similarity import Pairs, pairs_from

DUPLICATE_RULE = (
    "embeddings with a cosine similarity of at least 0.9, and aligned crops with a correlation of at least "
    "0.96, in grey at 32 x 32 pixels, one of them mirrored if that correlates better: a copy stays a copy at "
    "another resolution, compression or exposure, and mirrored"
)
_ALIKE = 0.9
_CORRELATION = 0.96
_SIDE_PX = 32


def duplicates(left: People, right: People | None = None) -> Pairs:
    """Pairs of photos that are copies of each other, the closest first; see `DUPLICATE_RULE`.

    Args:
        left: photos of one set.
        right: photos of another set; None: pairs within `left`.

    Returns:
        Photo indices; the scores are the correlations.

    Raises:
        InputError: a crop cannot be read.
    """
    others = left if right is None else right
    alike = pairs_from(_ALIKE, left.embeddings, None if right is None else right.embeddings)
    scores = np.array(
        [pixel_correlation(_small(left, i), _small(others, j)) for i, j, _ in alike.rows()], dtype=np.float32
    )
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= _CORRELATION]
    return Pairs(alike.left[order], alike.right[order], scores[order])


def pixel_correlation(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Pearson's correlation of two pictures of one size, or with the second one mirrored; the higher one.

    A picture of a single grey value has correlation 0 with every other.
    """
    ways = (second, second[:, ::-1])
    return max(_correlation(first.astype(np.float64), way.astype(np.float64)) for way in ways)


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    first, second = first - first.mean(), second - second.mean()
    spread = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / spread if spread else 0.0


def _small(people: People, photo: int) -> NDArray[np.uint8]:
    """A crop in grey, (32, 32)."""
    grey = cv2.cvtColor(people.crop(photo), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)
