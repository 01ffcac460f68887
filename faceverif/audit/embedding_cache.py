"""The unit embeddings of a data set, kept on disk in portions, so that a killed audit can continue."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from data_prep.atomic import write_text
from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import DAMAGE, InputError
from data_prep.json_object import read_json
from data_prep.progress import progress
from faceverif.models import Embedder
from faceverif.models.sealed_tensors import read_sealed, write_sealed
from faceverif.verification.embeddings import embed_rows
from faceverif.verification.scoring import normalised

_PORTION = 512  # crops in memory at a time: 20 MB
_ABOUT_NAME = "about.json"
_METADATA_KEY, _EMBEDDINGS = "faceverif.embeddings", "embeddings"


def cached_embeddings(
    embedder: Embedder, dataset: AlignedDataset, rows: NDArray[np.int64], *, flip: bool, folder: Path
) -> NDArray[np.float32]:
    """Unit embeddings of some rows of a data set; those already in the folder are not computed again.

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
        folder / f"{start:08d}.safetensors": rows[start : start + _PORTION]
        for start in range(0, len(rows), _PORTION)
    }
    found = {path: _kept(path, len(portion)) for path, portion in portions.items()}
    missing = {path: portions[path] for path, kept in found.items() if kept is None}
    with progress(f"embed {dataset.root.name}", total=sum(map(len, missing.values()))) as advance:
        for path, portion in missing.items():
            embeddings = normalised(embed_rows(embedder, dataset, portion, flip=flip)).astype(np.float32)
            write_sealed(path, {_EMBEDDINGS: torch.from_numpy(embeddings)}, {}, metadata_key=_METADATA_KEY)
            found[path] = embeddings
            advance(len(portion), "")
    return np.concatenate([embeddings for embeddings in found.values() if embeddings is not None])


def _kept(path: Path, count: int) -> NDArray[np.float32] | None:
    """The embeddings of a portion; None where there are none, or the file is damaged: they are made again."""
    try:
        embeddings = read_sealed(path, metadata_key=_METADATA_KEY).tensors[_EMBEDDINGS]
    except (SafetensorError, OSError, *DAMAGE):
        return None
    return embeddings.numpy() if embeddings.ndim == 2 and len(embeddings) == count else None


def _begin(folder: Path, about: dict[str, str | bool]) -> None:
    """Say what the embeddings are of, or compare with what was said."""
    path = folder / _ABOUT_NAME
    if not path.exists():
        write_text(path, json.dumps(about, indent=2) + "\n")
    begun = read_json(path)
    if begun != about:
        differs = ", ".join(f"{key} {begun.get(key)}" for key in about if begun.get(key) != about[key])
        raise InputError(
            "--out",
            "must have been begun with the same model, --preprocess, --output, data and --flip",
            got=differs,
            fix="Name another folder.",
        )
