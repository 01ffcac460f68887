"""Photos that a model was trained on: what is measured on them does not hold for other people."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_prep.atomic import make_folder, written_whole
from data_prep.dataset.manifest import AlignedDataset
from faceverif.models import MODEL_NAME, Embedder

TRAINING_PHOTOS_NAME = "training_photos.npy"
_CONSEQUENCE = "the numbers do not hold for people whom it has not seen. Verify it on photos of other people"
_HEX_DIGITS = 16  # of a photo's SHA-256 that tell it: by chance, two of 42 million agree once in 20,000 sets


def remember_photos(
    run: Path, dataset: AlignedDataset, rows: NDArray[np.int64], *, earlier: Path | None
) -> None:
    """Write the photos that a run trains on beside its model, 8 bytes each, unless that was done before.

    Args:
        run: its folder.
        dataset: the photos.
        rows: (photos,) those trained on.
        earlier: the run that it starts from, whose photos count too.
    """
    file = run / TRAINING_PHOTOS_NAME
    if file.exists():
        return
    seen = fingerprints(dataset, rows)
    if earlier is not None and (remembered := _remembered(earlier)) is not None:
        seen = np.union1d(seen, remembered)
    make_folder(run, option="--run")
    with written_whole(file) as unfinished, unfinished.open("wb") as stream:
        np.save(stream, np.unique(seen))


def training_sets(provenance: Mapping[str, Any]) -> list[str]:
    """Hashes of the data sets that a model was trained on, also by the runs that it started from.

    A set of which a list of exclusions left photos out does not count: the list may name just those that are
    verified later.

    Args:
        provenance: of the model; empty for one from elsewhere.
    """
    data, earlier = provenance.get("data") or {}, provenance.get("start_from") or {}
    own = [data["manifest_sha256"]] if "manifest_sha256" in data and not data.get("exclusions") else []
    return [*own, *earlier.get("training_sets", ())]


def seen_warning(
    embedder: Embedder,
    dataset: AlignedDataset,
    rows: NDArray[np.int64],
    *,
    trained: NDArray[np.uint64] | None = None,
) -> str | None:
    """A warning where a model was trained on the photos on which it is measured.

    Beside its model a run keeps which photos it was trained on: they are recognised in any data set. Of a
    model without that, as after an export, only the data set as a whole is known.

    Args:
        embedder: the model.
        dataset: the photos.
        rows: (photos,) those on which it is measured.
        trained: `fingerprints` of those that it is trained on, where its run has not begun.
    """
    file = Path(embedder.name)
    if trained is None and file.name == MODEL_NAME:
        trained = _remembered(file.parent)
    measured = fingerprints(dataset, rows)
    if trained is not None and len(trained) and len(measured):
        seen = int(np.isin(measured, trained).sum())
        return (
            f"the model was trained on {seen:,} of these {len(rows):,} photos: {_CONSEQUENCE}"
            if seen
            else None
        )
    if dataset.sha256 in training_sets(embedder.provenance):
        return f"the model was trained on photos of this data set: {_CONSEQUENCE}"
    return None


def fingerprints(dataset: AlignedDataset, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(known,) numbers that tell photos by their bytes; of photos without a hash, as in packed sets, none.

    Args:
        dataset: the photos.
        rows: (photos,) which.
    """
    hashes = dataset.columns(["sha256"])["sha256"].take(rows).drop_null()
    openings = pc.utf8_slice_codeunits(hashes, 0, _HEX_DIGITS).combine_chunks()
    text = openings.buffers()[2] if len(openings) else None
    try:
        opened = binascii.unhexlify(memoryview(text)[: _HEX_DIGITS * len(openings)]) if text else b""
        return np.frombuffer(opened, dtype=">u8").astype(np.uint64)
    except ValueError:  # a manifest that somebody else wrote
        return np.empty(0, np.uint64)


def _remembered(run: Path) -> NDArray[np.uint64] | None:
    """What `remember_photos` wrote; None where there is nothing, as in runs of earlier versions."""
    try:
        numbers = np.load(run / TRAINING_PHOTOS_NAME, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return numbers if numbers.dtype == np.uint64 and numbers.ndim == 1 else None
