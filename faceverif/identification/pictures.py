"""The searches that went most wrong, as pictures: the probe beside the gallery photo that it found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceverif.identification.files import STRANGERS_NAME, WRONG_NAME
from faceverif.identification.result import IdentificationResult
from faceverif.verification.hardest import HARDEST, save_pair


def most_wrong(result: IdentificationResult, *, mated: bool) -> NDArray[np.int64]:
    """Searches that found somebody else, the most similar first: of people in the gallery, or strangers."""
    searches, people = result.metrics.searches, result.people
    other = (result.best >= 0) & (people.gallery[result.best] != people.probes)
    rows = np.flatnonzero(other & (searches.mated == mated))
    return rows[np.argsort(-searches.similarity[rows], kind="stable")][:HARDEST]


def write_pictures(result: IdentificationResult, figures: Path) -> None:
    """Write both crops of each, side by side, as ROW.jpg after its row in the searches."""
    for mated, name in ((True, WRONG_NAME), (False, STRANGERS_NAME)):
        for row in most_wrong(result, mated=mated):
            pair = [result.probes.rows[row], result.gallery.rows[result.best[row]]]
            save_pair(result.dataset, pair, figures / name / f"{row}.jpg")
