"""The unit embeddings of a data set, kept on disk in portions, so that a killed audit goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.atomic import write_text, written_whole
from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from data_prep.progress import progress
from faceverif.models import Embedder
from faceverif.verification.embeddings import embed_rows
from faceverif.verification.scoring import normalised

_PORTION = 512  # crops in memory at a time: 20 MB
_ABOUT_NAME = "about.json"


def cached_embeddings(
    embedder: Embedder, dataset: AlignedDataset, rows: NDArray[np.int64], *, flip: bool, folder: Path
) -> NDArray[np.float32]:
    """Unit embeddings of some rows of a data set; those that are in the folder are not computed again.

    Args:
        embedder: made for the data set's template.
        dataset: where the crops are.
        rows: (n,) manifest rows that have a crop, the same in every run.
        flip: average with the mirrored crop.
        folder: of this data set alone.

    Returns:
        (n, dim).

    Raises:
        InputError: the folder was begun with another model, preprocessing or data, the data set was cut for
            another model, or a crop cannot be read.
    """
    embedder.spec.refuse_other(dataset.header)
    _begin(
        folder,
        {
            "model_sha256": embedder.sha256,
            "preprocessing": embedder.preprocessing,
            "data_sha256": dataset.sha256,
            "flip": flip,
        },
    )
    portions = {
        folder / f"{start:08d}.npy": rows[start : start + _PORTION] for start in range(0, len(rows), _PORTION)
    }
    missing = {path: portion for path, portion in portions.items() if not path.exists()}
    with progress(f"embed {dataset.root.name}", total=sum(map(len, missing.values()))) as advance:
        for path, portion in missing.items():
            embeddings = embed_rows(embedder, dataset, portion, flip=flip)
            with written_whole(path) as unfinished:
                np.save(unfinished, normalised(embeddings).astype(np.float32))
            advance(len(portion), "")
    return np.concatenate([np.load(path) for path in portions])


def _begin(folder: Path, about: dict[str, str | bool]) -> None:
    """Say what the embeddings are of, or compare with what was said."""
    path = folder / _ABOUT_NAME
    if not path.exists():
        write_text(path, json.dumps(about, indent=2) + "\n")
    begun = json.loads(path.read_text(encoding="utf-8"))
    if begun != about:
        differs = ", ".join(f"{key} {begun.get(key)}" for key in about if begun.get(key) != about[key])
        raise InputError(
            "--out",
            "must have been begun with the same model, --preprocess, --output, data and --flip",
            got=differs,
            fix="Name another folder.",
        )
