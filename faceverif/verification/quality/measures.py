"""The measures of quality of the photos of a protocol, and of its pairs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from data_prep.quality.columns import photo_quality
from data_prep.quality.names import MEASURES
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.quality.names import NORM
from faceverif.verification.scoring import PairPhotos


def pair_quality(
    photos: PairPhotos, embedded: EmbeddedPhotos, names: Iterable[str]
) -> dict[str, NDArray[np.float64]]:
    """Measure -> (pairs,) the lower quality of both photos of each pair; NaN where that of one is not known.

    Args:
        photos: of the pairs.
        embedded: a model on them; asked for norms only if those are wanted.
        names: of `ALL_MEASURES`.

    Raises:
        InputError: a crop cannot be read.
    """
    wanted = list(names)
    of_photos = [name for name in wanted if name in MEASURES]
    found = photo_quality(embedded.dataset, photos.rows, of_photos, read_crops=True) if of_photos else {}
    if NORM in wanted:
        norms = np.linalg.norm(photos.embed(embedded), axis=1)
        found[NORM] = np.where(photos.no_crop | photos.no_face, np.nan, norms)
    return {name: np.minimum(found[name][photos.left], found[name][photos.right]) for name in wanted}
