"""The embeddings of a data set as a Parquet file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.atomic import refuse_busy, refuse_folder, refuse_other_ending, written_whole
from data_prep.dataset.manifest import AlignedDataset
from data_prep.dataset.packed import load_aligned
from data_prep.errors import InputError
from data_prep.own_files import read_guarded
from data_prep.progress import say
from data_prep.repeated_text import written_out
from data_prep.work.job import Engine
from faceverif.models import Embedder
from faceverif.verification.collapse import collapse_warning, different_photos
from faceverif.verification.earlier_result import model_and_data, refuse_changes
from faceverif.verification.embedding_parts import about_portions, embed_in_portions, remove_others
from faceverif.verification.embeddings import BATCH, FLIP_RULE, embed_rows, embedded_batches

_METADATA_KEY = b"faceverif.embeddings"


def embed_to_file(
    embedder: Embedder, data: Path, out: Path, *, flip: bool, engine: Engine | None = None
) -> None:
    """Embed every crop of an aligned folder into a Parquet file: photo, identity, status, embedding.

    The file's metadata say which model, preprocessing and data. Photos without a crop have no row. Workers on
    a cluster write portions into a folder beside the file, and the same command continues with those.

    Args:
        embedder: made for the data set's template.
        data: the aligned folder, or packed crops.
        out: the file; one with embeddings of the same model and data is replaced.
        flip: average with the mirrored crop.
        engine: where the work runs; None: in this process.

    Raises:
        InputError: `out` is no .parquet file, holds something else, cannot be written or is being written,
            there is nothing to embed, the data are of another template, or the work was stopped where it ran.
    """
    refuse_other_ending(out, ".parquet")
    refuse_folder(out)
    refuse_busy(out, command="faceverif embed")
    dataset = load_aligned(data)
    embedder.spec.refuse_other(dataset.header)
    rows = dataset.with_crop()
    if not len(rows):
        raise InputError("data", "must hold at least one crop", got=data, fix="Align photos into it.")
    asked = model_and_data(embedder, dataset)
    if out.exists():
        refuse_changes(out, _earlier(out), asked)
    about = asked | {
        "device": embedder.device,
        "preprocessing": embedder.preprocessing,
        "spec": asdict(embedder.spec),
        "flip": FLIP_RULE if flip else "none",
        "warnings": _warnings(embedder, dataset, rows, flip=flip),
    }
    with written_whole(out) as unfinished:
        if engine is None or not engine.outlasts:
            batches = embedded_batches(embedder, dataset, rows, flip=flip)
            _write_batches(unfinished, dataset, rows, batches, about=json.dumps(about))
            return
        folder = out.with_name(f"{out.name}.portions")
        remove_others(folder, about_portions(embedder, dataset, flip=flip))
        done = embed_in_portions(embedder, dataset, rows, flip=flip, folder=folder, engine=engine)
        batches = (part[at : at + BATCH] for part in done for at in range(0, len(part), BATCH))
        _write_batches(unfinished, dataset, rows, batches, about=json.dumps(about | {"device": done.device}))
    shutil.rmtree(folder, ignore_errors=True)


def _earlier(out: Path) -> dict[str, Any]:
    """What a file says of its embeddings; empty where it holds something else."""
    fix = "Name another file, or remove this one."
    with read_guarded("--out", "must not hold anything but embeddings", got=out, fix=fix):
        said: dict[str, Any] = json.loads((pq.read_schema(out).metadata or {}).get(_METADATA_KEY, "{}"))
    return said


def _warnings(
    embedder: Embedder, dataset: AlignedDataset, rows: NDArray[np.int64], *, flip: bool
) -> list[str]:
    """Said before the work begins, from a few photos."""
    few = rows[different_photos(dataset, rows)]
    warning = collapse_warning(embedder, embed_rows(embedder, dataset, few, flip=flip)) if len(few) else None
    if warning is None:
        return []
    say(f"warning: {warning}")
    return [warning]


def _write_batches(
    path: Path,
    dataset: AlignedDataset,
    rows: NDArray[np.int64],
    batches: Iterator[NDArray[np.float32]],
    *,
    about: str,
) -> None:
    """One row group per batch, so that memory does not grow with the data set."""
    written = np.zeros(len(dataset), dtype=bool)
    written[rows] = True
    columns = dataset.table.select(["photo", "identity", "status"]).filter(pa.array(written))
    writer: pq.ParquetWriter | None = None
    begin = 0
    try:
        for embeddings in batches:
            values = pa.array(embeddings.reshape(-1), pa.float32())
            table = written_out(columns.slice(begin, len(embeddings))).append_column(
                "embedding", pa.FixedSizeListArray.from_arrays(values, embeddings.shape[1])
            )
            begin += len(embeddings)
            table = table.replace_schema_metadata({_METADATA_KEY: about.encode()})
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
