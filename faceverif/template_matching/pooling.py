"""From the embeddings of photos to one of each IJB template."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faceverif.template_matching.options import Pooling


class TemplateSums:
    """Weighted sums of embeddings per IJB template; photos come in batches and in any order.

    A mean over media of means over their photos is one weighted sum, in which a photo counts its weight
    divided by the number of its medium's photos: no photo's embedding needs to be kept.

    Args:
        templates: how many there are.
        pooling: what an embedding counts.
    """

    def __init__(self, templates: int, pooling: Pooling) -> None:
        self._templates, self._pooling = templates, pooling
        self._sums: NDArray[np.float64] | None = None

    def add(
        self, embeddings: NDArray[np.float32], template: NDArray[np.int32], share: NDArray[np.float64]
    ) -> None:
        """Add photos.

        Args:
            embeddings: (photos, dim) raw.
            template: (photos,) the number of each one's IJB template.
            share: (photos,) what each counts, its norm aside.
        """
        if self._sums is None:
            self._sums = np.zeros((self._templates, embeddings.shape[1]))
        if not len(template):
            return
        order = np.argsort(template, kind="stable")
        template, vectors = template[order], embeddings[order].astype(np.float64)
        if not self._pooling.by_norm:
            vectors /= _lengths(vectors)
        vectors *= share[order, None]
        starts = np.flatnonzero(np.diff(template, prepend=-1))
        self._sums[template[starts]] += np.add.reduceat(vectors, starts, axis=0)

    def unit(self) -> NDArray[np.float32]:
        """(templates, dim) of length 1; zero for an IJB template whose sum is zero, which is like nothing."""
        sums = np.zeros((self._templates, 1)) if self._sums is None else self._sums
        return (sums / _lengths(sums)).astype(np.float32)


def _lengths(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 1) lengths to divide by: 1 for a zero vector, which stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths > 0, lengths, 1.0)
