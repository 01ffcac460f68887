"""The pairs of a verification that were hardest, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.dataset.crops import save_side_by_side
from data_prep.dataset.manifest import AlignedDataset
from faceverif.verification.result import VerificationResult

HARDEST = 8


def hardest_pairs(result: VerificationResult, *, same: bool, count: int = HARDEST) -> NDArray[np.int64]:
    """Scored pairs with both pictures, hardest first: genuine ones of low, impostors of high similarity.

    Args:
        result: of the pairs.
        same: take genuine pairs, else impostors.
        count: how many at most.

    Returns:
        their places in the protocol.
    """
    there = result.photos.readable_pairs
    rows = np.flatnonzero(result.protocol.scored & (result.protocol.same == same) & there)
    order = np.argsort(result.scores[rows] if same else -result.scores[rows], kind="stable")
    return rows[order][:count]


def write_hardest_pairs(result: VerificationResult, folder: Path) -> None:
    """Write both crops of each, side by side, as ROW.jpg after its row in the scores."""
    photos = result.photos
    for pair in [*hardest_pairs(result, same=True), *hardest_pairs(result, same=False)]:
        rows = [photos.rows[photos.left[pair]], photos.rows[photos.right[pair]]]
        save_pair(result.dataset, rows, folder / f"{pair}.jpg")


def save_pair(dataset: AlignedDataset, rows: Sequence[int], path: Path) -> None:
    """Write the crops of two manifest rows, side by side, as a JPEG."""
    save_side_by_side(dataset.crops.read(np.array(rows)), path)
