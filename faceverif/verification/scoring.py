"""From a protocol's pairs to cosine scores: each photo embedded once, no pair ever dropped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.errors import InputError
from data_prep.protocols import VerificationProtocol, find_rows
from faceverif.verification.embeddings import EmbeddedPhotos

NO_FACE_RULE = "a photo without a detected face is embedded from its centre crop"
NO_CROP_RULE = "a pair with a photo that could not be read scores as an error: -1 if genuine, +1 if impostor"
MEAN_RULE = (
    "embeddings are L2-normalised, the mean over the photos of all other folds is subtracted, and they are "
    "normalised again"
)
_IN_PART = (
    " `verify` and `calibrate` leave out the pairs of missing photos with --allow-partial, a training's "
    "verification with allow_partial: true."
)


@dataclass(frozen=True)
class PairPhotos:
    """The photos behind a protocol's pairs.

    Attributes:
        rows: (photos,) manifest rows, each once.
        left, right: (pairs,) positions in `rows`.
        no_face: (photos,) True for a centre crop.
        no_crop: (photos,) True where there is no picture at all.
    """

    rows: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    no_face: NDArray[np.bool_]
    no_crop: NDArray[np.bool_]

    @classmethod
    def of(cls, protocol: VerificationProtocol, dataset: AlignedDataset) -> PairPhotos:
        """Find the photos of every pair.

        Raises:
            InputError: the data set lacks some of them, or has a crop of none.
        """
        found = find_rows([*protocol.left, *protocol.right], dataset, in_part=_IN_PART)
        rows, position = np.unique(found, return_inverse=True)
        status = dataset.column("status")[rows]
        if (status == Status.FAILED.value).all():
            raise InputError(
                "data",
                "must hold a crop of at least one photo that the protocol names",
                got=f"{counted(len(rows), 'photo')} without a crop",
                fix="See the reasons in its manifest, and align readable photos.",
            )
        left, right = position.reshape(2, -1)
        return cls(rows, left, right, status == Status.NO_FACE.value, status == Status.FAILED.value)

    def pairs_with(self, photos: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(pairs,) True where either photo is one of these, (photos,)."""
        return photos[self.left] | photos[self.right]

    @cached_property
    def readable_pairs(self) -> NDArray[np.bool_]:
        """(pairs,) True where there is a picture of both photos."""
        return ~self.pairs_with(self.no_crop)

    @property
    def with_crop(self) -> NDArray[np.int64]:
        """Rows of the photos that there is a picture of."""
        return self.rows[~self.no_crop]

    def embed(self, embedded: EmbeddedPhotos) -> NDArray[np.float64]:
        """(photos, dim) raw embeddings; zero where there is no picture."""
        usable = np.flatnonzero(~self.no_crop)
        found = embedded.of(self.rows[usable])
        embeddings = np.zeros((len(self.rows), found.shape[1]))
        embeddings[usable] = found
        return embeddings


def normalised(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows of unit length; a zero row stays zero and is like nothing, cosine 0.

    In float64, or rounding would tie the pairs of a model whose similarities all lie near 1.
    """
    embeddings = embeddings.astype(np.float64)
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(lengths > 0, lengths, 1)


def cosine_scores(photos: PairPhotos, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
    """(pairs,) cosine similarity of unit embeddings, (photos, dim)."""
    scores = np.einsum("pd,pd->p", embeddings[photos.left], embeddings[photos.right])
    return np.clip(scores, -1.0, 1.0)


def mean_subtracted_scores(
    photos: PairPhotos, embeddings: NDArray[np.float64], protocol: VerificationProtocol
) -> NDArray[np.float64]:
    """(scored folds, pairs) cosine scores as each scored fold sees them: see `MEAN_RULE`.

    Raises:
        InputError: no photo of the other folds has a picture, so there is no mean.
    """
    scores = np.empty((len(protocol.scored_folds), len(protocol)))
    for index, number in enumerate(protocol.scored_folds):
        others = protocol.fold != number
        used = np.zeros(len(photos.rows), dtype=bool)
        used[photos.left[others]] = used[photos.right[others]] = True
        used &= ~photos.no_crop
        if not used.any():
            raise InputError(
                "--subtract-mean",
                f"needs a readable photo outside fold {number}, to take the mean of",
                got="none",
                fix="See the reasons in the manifest, and align readable photos.",
            )
        mean = embeddings[used].mean(axis=0)
        scores[index] = cosine_scores(photos, normalised(embeddings - mean))
    return scores


def with_certain_errors(
    scores: NDArray[np.float64], same: NDArray[np.bool_], readable: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Scores, (..., pairs), where pairs without a picture are surely wrong: see `NO_CROP_RULE`."""
    return np.where(readable, scores, np.where(same, -1.0, 1.0))
