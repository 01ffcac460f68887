"""The embeddings table: crops of a data set through an embedder, in batches, each photo once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.atomic import written_whole
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.dataset.packed import load_aligned
from data_prep.errors import InputError
from data_prep.progress import progress
from faceverif.models import Embedder

FLIP_RULE = "mean of the raw embeddings of the crop and of its mirror image, before L2 normalisation"

_BATCH = 128  # crops in memory at a time: 5 MB
_METADATA_KEY = b"faceverif.embeddings"


def embed_crops(
    embedder: Embedder, crops: NDArray[np.uint8], *, flip: bool, photos: Sequence[str] = ()
) -> NDArray[np.float32]:
    """Embeddings of crops, (n, dim), not normalised; with `flip` see `FLIP_RULE`.

    Raises as `Embedder.embed`, which `photos` is for.
    """
    embeddings = embedder.embed(crops, photos=photos)
    if not flip:
        return embeddings
    return (embeddings + embedder.embed(crops[:, :, ::-1], photos=photos)) * np.float32(0.5)


def embed_rows(
    embedder: Embedder, dataset: AlignedDataset, rows: NDArray[np.int64], *, flip: bool
) -> NDArray[np.float32]:
    """Embeddings of a batch of manifest rows, (rows, dim), not normalised.

    Raises:
        InputError: a crop cannot be read, or the model gives embeddings that are not finite.
    """
    photos = dataset.table.column("photo").take(pa.array(rows)).to_pylist()
    return embed_crops(embedder, dataset.crops.read(rows), flip=flip, photos=photos)


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
    return np.concatenate(list(_embedded_batches(embedder, dataset, rows, flip=flip)))


def _embedded_batches(
    embedder: Embedder, dataset: AlignedDataset, rows: NDArray[np.int64], *, flip: bool
) -> Iterator[NDArray[np.float32]]:
    with progress("embed", total=len(rows)) as advance:
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            yield embed_rows(embedder, dataset, batch, flip=flip)
            advance(len(batch), "")


class EmbeddedPhotos:
    """Embeddings of a data set's photos, each computed once, when it is first asked for.

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
        """Embeddings of manifest rows that have a crop, one row or more: (rows, dim), not normalised."""
        new = np.unique(rows[self._place[rows] < 0])
        if len(new):
            found = embed_dataset(self.embedder, self.dataset, new, flip=self.flip)
            self._place[new] = len(self._embeddings) + np.arange(len(new))
            self._embeddings = np.concatenate([self._embeddings.reshape(-1, found.shape[1]), found])
        return self._embeddings[self._place[rows]]


def embed_to_file(embedder: Embedder, data: Path, out: Path, *, flip: bool) -> None:
    """Embed every crop of an aligned folder into a Parquet file: photo, identity, status, embedding.

    The file's metadata say which model, preprocessing and data. Photos without a crop have no row.

    Raises:
        InputError: `out` is no .parquet file, there is nothing to embed, or the data are of another template.
    """
    if out.suffix != ".parquet":
        raise InputError(
            "--out", "must be a .parquet file", got=out, fix=f"Use {out.with_suffix('.parquet')}."
        )
    dataset = load_aligned(data)
    embedder.spec.refuse_other(dataset.header)
    rows = np.flatnonzero(dataset.column("status") != Status.FAILED.value)
    if not len(rows):
        raise InputError("data", "must hold at least one crop", got=data, fix="Align photos into it.")
    about = {
        "model": embedder.name,
        "model_sha256": embedder.sha256,
        "preprocessing": embedder.preprocessing,
        "spec": asdict(embedder.spec),
        "flip": FLIP_RULE if flip else "none",
        "data_sha256": dataset.sha256,
    }
    with written_whole(out) as unfinished:
        _write_batches(unfinished, embedder, dataset, rows, flip=flip, about=json.dumps(about))


def _write_batches(
    path: Path,
    embedder: Embedder,
    dataset: AlignedDataset,
    rows: NDArray[np.int64],
    *,
    flip: bool,
    about: str,
) -> None:
    """One row group a batch, so that memory does not grow with the data set."""
    columns = dataset.table.select(["photo", "identity", "status"]).take(pa.array(rows))
    writer: pq.ParquetWriter | None = None
    try:
        for index, embeddings in enumerate(_embedded_batches(embedder, dataset, rows, flip=flip)):
            values = pa.array(embeddings.reshape(-1), pa.float32())
            table = columns.slice(index * _BATCH, _BATCH).append_column(
                "embedding", pa.FixedSizeListArray.from_arrays(values, embeddings.shape[1])
            )
            table = table.replace_schema_metadata({_METADATA_KEY: about.encode()})
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
