"""Crops of a data set through an embedder, in batches, each photo once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from data_prep.dataset.manifest import AlignedDataset
from data_prep.progress import progress
from faceverif.models import Embedder
from faceverif.models.embedder import naming

FLIP_RULE = "mean of the raw embeddings of the crop and of its mirror image, before L2 normalisation"

BATCH = 128  # crops that are embedded at a time; as many more are being read: 5 MB each


def embed_crops(embedder: Embedder, crops: NDArray[np.uint8], *, flip: bool) -> NDArray[np.float32]:
    """Embeddings of crops, (n, dim), not normalised; see `FLIP_RULE`."""
    embeddings = embedder.embed(crops)
    if not flip:
        return embeddings
    return (embeddings + embedder.embed(crops[:, :, ::-1])) * np.float32(0.5)


def embed_rows(
    embedder: Embedder, dataset: AlignedDataset, rows: NDArray[np.int64], *, flip: bool
) -> NDArray[np.float32]:
    """Embeddings of a batch of manifest rows, (rows, dim), not normalised.

    Raises:
        InputError: a crop cannot be read, or the model gives embeddings that are not finite.
    """
    with naming(dataset.photos(rows)):
        return embed_crops(embedder, dataset.crops.read(rows), flip=flip)


def embed_dataset(
    embedder: Embedder, dataset: AlignedDataset, rows: NDArray[np.int64], *, flip: bool
) -> NDArray[np.float32]:
    """Embeddings of some rows of a data set.

    Args:
        embedder: made for the data set's template.
        dataset: where the crops are.
        rows: (n,) manifest rows that have a crop.
        flip: average with the mirrored crop: see `FLIP_RULE`.

    Returns:
        (n, dim), not normalised.

    Raises:
        InputError: the data set was cut for another model, or a crop cannot be read.
    """
    embedder.spec.refuse_other(dataset.header)
    return np.concatenate(list(embedded_batches(embedder, dataset, rows, flip=flip)))


def embedded_batches(
    embedder: Embedder, dataset: AlignedDataset, rows: NDArray[np.int64], *, flip: bool
) -> Iterator[NDArray[np.float32]]:
    """The same, `BATCH` rows at a time."""
    with progress("embed", total=len(rows)) as advance:
        for batch, crops in _read_ahead(dataset, rows):
            with naming(dataset.photos(batch)):
                embeddings = embed_crops(embedder, crops, flip=flip)
            yield embeddings
            advance(len(batch), "")


def _read_ahead(
    dataset: AlignedDataset, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """Batches of rows with their crops; while one is embedded, a thread reads the next."""
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    if not batches:
        return
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(dataset.crops.read, batches[0])
        for batch, following in zip(batches, [*batches[1:], None], strict=True):
            crops = ahead.result()
            if following is not None:
                ahead = reader.submit(dataset.crops.read, following)
            yield batch, crops


class EmbeddedPhotos:
    """Embeddings of a data set's photos, each computed once, when it is first needed.

    Args:
        embedder: made for the data set's template.
        dataset: where the crops are.
        flip: average with the mirrored crop: see `FLIP_RULE`.

    Raises:
        InputError: the data set was cut for another model.
    """

    def __init__(self, embedder: Embedder, dataset: AlignedDataset, *, flip: bool) -> None:
        embedder.spec.refuse_other(dataset.header)
        self.embedder, self.dataset, self.flip = embedder, dataset, flip
        self._place = np.full(len(dataset), -1)  # of each row among the embeddings
        self._embeddings = np.empty((0, 0), np.float32)

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Embeddings, (rows, dim), not normalised, of one or more manifest rows that have a crop."""
        new = np.unique(rows[self._place[rows] < 0])
        if len(new):
            found = self._embed(new)
            self._place[new] = len(self._embeddings) + np.arange(len(new))
            self._embeddings = np.concatenate([self._embeddings.reshape(-1, found.shape[1]), found])
        return self._embeddings[self._place[rows]]

    def _embed(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(rows, dim) of rows that were not asked for before."""
        return embed_dataset(self.embedder, self.dataset, rows, flip=self.flip)
