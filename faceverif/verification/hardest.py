"""The pairs of a verification that were hardest, as pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.atomic import written_whole
from data_prep.dataset.crops import side_by_side
from faceverif.verification.result import VerificationResult

HARDEST = 8

_JPEG_QUALITY = 92


def hardest_pairs(result: VerificationResult, *, same: bool, count: int = HARDEST) -> NDArray[np.int64]:
    """Scored pairs with both pictures, hardest first: genuine ones of low, impostors of high similarity."""
    there = ~result.photos.pairs_with(result.photos.no_crop)
    rows = np.flatnonzero(result.protocol.scored & (result.protocol.same == same) & there)
    order = np.argsort(result.scores[rows] if same else -result.scores[rows], kind="stable")
    return rows[order][:count]


def write_hardest_pairs(result: VerificationResult, folder: Path) -> None:
    """Write both crops of each, side by side, as ROW.jpg after its row in the scores."""
    shutil.rmtree(folder, ignore_errors=True)  # those of an earlier verification are of other rows
    photos = result.photos
    for pair in [*hardest_pairs(result, same=True), *hardest_pairs(result, same=False)]:
        crops = result.dataset.crops.read(photos.rows[[photos.left[pair], photos.right[pair]]])
        with written_whole(folder / f"{pair}.jpg") as unfinished:
            Image.fromarray(side_by_side(crops)).save(unfinished, quality=_JPEG_QUALITY)
