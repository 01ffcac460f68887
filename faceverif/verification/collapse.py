"""Collapse: different people get nearly the same embedding, most often by wrong preprocessing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_prep.dataset.manifest import AlignedDataset
from faceverif.models import Embedder
from faceverif.verification.scoring import normalised

_PHOTOS = 20  # that are looked at
_FEWEST_PEOPLE = 5  # below that, a mean says little
_LARGEST_MEAN = 0.7  # a trained recogniser lies near 0; wrong preprocessing gave 0.70 to 0.93


def different_photos(dataset: AlignedDataset, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Up to 20 photos to tell a collapse by, as positions in `rows`.

    One photo per identity; where identities are unknown, any 20. Empty where there are too few.
    """
    known = dataset.has_identity()[rows]
    if known.all():
        places = np.sort(np.unique(dataset.people(rows)[1], return_index=True)[1])
        fewest = _FEWEST_PEOPLE
    else:
        places, fewest = np.arange(len(rows)), _PHOTOS
    if len(places) < fewest:
        return np.empty(0, np.int64)
    return places[np.linspace(0, len(places) - 1, min(_PHOTOS, len(places))).astype(np.int64)]


def collapse_warning(embedder: Embedder, embeddings: NDArray[np.floating]) -> str | None:
    """A warning where photos of different people have a mean cosine above 0.7.

    Args:
        embedder: where the embeddings come from.
        embeddings: (n, dim) of `different_photos`; none at all give no warning.
    """
    count = len(embeddings)
    if count < _FEWEST_PEOPLE:
        return None
    unit = normalised(embeddings)
    unit[~unit.any(axis=1), 0] = 1  # all zero embeddings are alike
    mean = float(((unit.sum(axis=0) ** 2).sum() - (unit**2).sum()) / (count * (count - 1)))
    if mean <= _LARGEST_MEAN:
        return None
    return (
        f"{count} photos of different people have nearly the same embedding, mean cosine "
        f"{mean:.2f}: {embedder.alike_cause}"
    )


def collapse_warning_of_photos(embedder: Embedder, embeddings: NDArray[np.floating]) -> str | None:
    """The same of photos whose people are not known: from 20 on, and said with that doubt.

    Args:
        embedder: where the embeddings come from.
        embeddings: (n, dim) of any different photos.
    """
    if len(embeddings) < _PHOTOS:
        return None
    few = embeddings[np.linspace(0, len(embeddings) - 1, _PHOTOS).astype(np.int64)]
    warning = collapse_warning(embedder, few)
    return warning and f"{warning}, unless these photos show one person"
