"""The photos of a data set, grouped by identity, with a centre for each."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data_prep.dataset.manifest import AlignedDataset

_ROWS = 65_536  # of the embeddings in memory at a time: 128 MB at 512 numbers each


@dataclass(frozen=True)
class People:
    """Embedded photos of a data set, grouped.

    Attributes:
        dataset: where they are.
        rows: (photos,) manifest rows.
        embeddings: (photos, dim) unit vectors; those of a large set stay in a file.
        labels: (photos,) an index into names.
        names: of the identities, sorted.
    """

    dataset: AlignedDataset
    rows: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: tuple[str, ...]

    @classmethod
    def of(cls, dataset: AlignedDataset, rows: NDArray[np.int64], embeddings: NDArray[np.float32]) -> People:
        """Group embedded rows, which must have identities."""
        names, labels = dataset.people(rows)
        return cls(dataset, rows, embeddings, labels, tuple(names.tolist()))

    @cached_property
    def photos(self) -> NDArray[np.int64]:
        """(identities,) how many photos each has."""
        return np.bincount(self.labels, minlength=len(self.names))

    @cached_property
    def centres(self) -> NDArray[np.float32]:
        """(identities, dim) the unit mean of each identity's embeddings."""
        return unit(self._sums)

    @cached_property
    def own_scores(self) -> NDArray[np.float32]:
        """(photos,) similarity of each with the centre of its identity's other photos; NaN without any."""
        scores = np.full(len(self.labels), np.nan, dtype=np.float32)
        for start in range(0, len(scores), _ROWS):
            photos = slice(start, start + _ROWS)
            own, several = self.embeddings[photos], self.photos[self.labels[photos]] > 1
            rest = unit(self._sums[self.labels[photos]] - own)
            scores[photos] = np.where(several, np.einsum("pd,pd->p", rest, own), np.float32(np.nan))
        return scores

    def half_centres(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Two centres, (n, dim), per identity with two or more photos: of its even and its odd photos."""
        order = np.argsort(self.labels, kind="stable")
        begins = np.repeat(np.cumsum(self.photos) - self.photos, self.photos)
        even = np.empty(len(order), dtype=bool)
        even[order] = (np.arange(len(order)) - begins) % 2 == 0
        several = self.photos > 1
        return unit(self._summed(even)[several]), unit(self._summed(~even)[several])

    def photo_name(self, photo: int) -> str:
        """The key of a photo."""
        return self.dataset.photos(self.rows[[photo]])[0]

    def crop(self, photo: int) -> NDArray[np.uint8]:
        """The crop of a photo, (crop_px, crop_px, 3) RGB.

        Raises:
            InputError: it cannot be read.
        """
        return self.dataset.crops.read(self.rows[[photo]])[0]

    def most_similar(self, identity: int, vector: NDArray[np.float32]) -> int:
        """The photo of an identity that is most similar to a vector, (dim,)."""
        begins = np.searchsorted(self._by_identity[0], (identity, identity + 1))
        photos = self._by_identity[1][begins[0] : begins[1]]
        return int(photos[(self.embeddings[photos] @ vector).argmax()])

    @cached_property
    def _by_identity(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The labels, rising, and the photos in that order."""
        order = np.argsort(self.labels, kind="stable")
        return self.labels[order], order

    @cached_property
    def _sums(self) -> NDArray[np.float32]:
        return self._summed(np.ones(len(self.labels), dtype=bool))

    def _summed(self, chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
        sums = np.zeros((len(self.names), self.embeddings.shape[1]), dtype=np.float32)
        for start in range(0, len(chosen), _ROWS):
            photos = start + np.flatnonzero(chosen[start : start + _ROWS])
            np.add.at(sums, self.labels[photos], self.embeddings[photos])
        return sums


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, dim) rows at unit length; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def plain_name(name: str) -> str:
    """A name for comparison: without accents, case, spaces and punctuation; empty for a mere number.

    Every data set counts its own numbers, so equal numbers mean nothing.
    """
    letters = unicodedata.normalize("NFKD", name).casefold()
    plain = "".join(letter for letter in letters if letter.isalnum())
    return plain if any(letter.isalpha() for letter in plain) else ""
