"""The raw embeddings of a data set, kept on disk in portions, so that killed work can continue."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.atomic import new_folders, remove_empty
from data_prep.dataset.crops import Crops
from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError, few
from data_prep.json_object import read_json, write_json
from data_prep.progress import progress, say
from data_prep.storage import address_of
from data_prep.walk import left_by_the_system
from data_prep.work.job import Engine, Job, WorkStopped
from faceverif.models import Embedder
from faceverif.models.embedder import naming
from faceverif.models.sealed_tensors import SealedTensors, sealed_or_none, write_sealed
from faceverif.verification.embeddings import BATCH, embed_crops

_PORTION = 4 * BATCH  # crops of a shard: 20 MB
_ABOUT_NAME = "about.json"
_OURS = re.compile(r"about\.json|\d{8}\.safetensors|\.unfinished-.*")
_SPOKEN = {
    "model_sha256": "another model",
    "preprocessing": "another preprocessing",
    "data_sha256": "other data",
    "flip": "the other --flip",
}
_METADATA_KEY, _EMBEDDINGS = "faceverif.embeddings", "embeddings"


class _Portion(NamedTuple):
    """Some crops, as a worker gets them.

    Attributes:
        path: the file for their embeddings.
        photos: their names, for messages.
        crops: these alone.
    """

    path: Path
    photos: list[str]
    crops: Crops


class _Done(NamedTuple):
    """What a worker says of a portion: how many crops it embedded, and on which device."""

    crops: int
    device: str


class EmbedCrops(Job[_Portion, _Done]):
    """Crops in, files of embeddings out.

    Args:
        embedder: of this process; another one loads its own, of the same hash.
        flip: average with the mirrored crop.
        data: where the crops lie.
        folder: that the files go to.
    """

    def __init__(self, embedder: Embedder, *, flip: bool, data: Path, folder: Path) -> None:
        self._embedder: Embedder | None = embedder
        self._recipe, self._sha256 = embedder.recipe, embedder.sha256
        self._flip, self._data, self._folder = flip, data, folder

    @property
    def reads(self) -> tuple[Path, ...]:
        """The data, unless every node reaches them by their address, and the model."""
        data = [self._data] if address_of(self._data) is None else []
        return (*data, *([] if self._recipe is None else [self._recipe.file]))

    @property
    def writes(self) -> Path:
        """The folder of the portions."""
        return self._folder

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_embedder": None}

    def start(self) -> Callable[[_Portion], _Done]:
        """What embeds a portion, with the model."""
        embedder = self._embedder or self._loaded()

        def embed(portion: _Portion) -> _Done:
            embeddings = np.concatenate(list(self._batches(embedder, portion)))
            about = {"device": embedder.device}
            tensors = {_EMBEDDINGS: torch.from_numpy(embeddings)}
            write_sealed(portion.path, tensors, about, metadata_key=_METADATA_KEY)
            return _Done(len(embeddings), embedder.device)

        return embed

    def _batches(self, embedder: Embedder, portion: _Portion) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(portion.photos), BATCH):
            rows = range(start, min(start + BATCH, len(portion.photos)))
            with naming(portion.photos[start : start + BATCH]):
                yield embed_crops(embedder, portion.crops.read(rows), flip=self._flip)

    def _loaded(self) -> Embedder:
        if self._recipe is None:
            raise ValueError("this embedder was not loaded from a file: another process cannot load it")
        embedder = self._recipe.load()
        if embedder.sha256 != self._sha256:
            raise WorkStopped(
                "--model",
                "every node must see the same file",
                got=f"another content of {self._recipe.file}",
                fix="Put it on storage that all nodes mount there.",
            )
        return embedder


@dataclass(frozen=True)
class EmbeddedPortions:
    """Embeddings that are on disk.

    Attributes:
        files: in the order of the rows, each with the number of its rows.
        device: where they were computed.
    """

    files: dict[Path, int]
    device: str

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """The raw embeddings of each file, (rows of it, dim)."""
        for path, count in self.files.items():
            kept = _kept(path, count)
            if kept is None:
                raise WorkStopped(
                    "storage",
                    "must keep what was written",
                    got=f"{path}, which is gone or damaged",
                    fix="Run the same command again: it computes that portion again.",
                )
            yield kept.tensors[_EMBEDDINGS].numpy()


def embed_in_portions(
    embedder: Embedder,
    dataset: AlignedDataset,
    rows: NDArray[np.int64],
    *,
    flip: bool,
    folder: Path,
    engine: Engine,
) -> EmbeddedPortions:
    """Embed some rows of a data set; those already in the folder are not computed again.

    A new folder in which no portion was made is removed again.

    Args:
        embedder: made for the data set's template.
        dataset: where the crops are.
        rows: (n,) manifest rows that have a crop, the same in every run.
        flip: average with the mirrored crop.
        folder: of this data set alone.
        engine: where the work runs.

    Raises:
        InputError: the folder was begun with another model, preprocessing or data, the data set was cut for
            another model, a crop cannot be read, or the work was stopped where it ran.
    """
    embedder.spec.refuse_other(dataset.header)
    made = new_folders(folder)
    _begin(folder, about_portions(embedder, dataset, flip=flip))
    portions = {
        folder / f"{start:08d}.safetensors": rows[start : start + _PORTION]
        for start in range(0, len(rows), _PORTION)
    }
    # By a listing: a network's folder may remember for a while that a file was not there.
    there = {
        path: kept.about.get("device", embedder.device)
        for path in folder.iterdir()
        if path in portions and (kept := _kept(path, len(portions[path]))) is not None
    }
    devices = set(there.values())
    missing = {path: portions[path] for path in portions if path not in there}
    job = EmbedCrops(embedder, flip=flip, data=dataset.root, folder=folder)
    try:
        if missing:
            devices |= _embed_missing(job, dataset, missing, engine)
    finally:
        remove_empty(made, own=_ABOUT_NAME)
    return EmbeddedPortions({path: len(some) for path, some in portions.items()}, ", ".join(sorted(devices)))


def _embed_missing(
    job: EmbedCrops, dataset: AlignedDataset, missing: dict[Path, NDArray[np.int64]], engine: Engine
) -> set[str]:
    """Do the portions; the devices that did."""
    total = sum(map(len, missing.values()))
    devices = set()
    with (
        engine.workers(job, shards=len(missing)) as work,
        progress(f"embed {dataset.root.name}", total=total) as advance,
    ):
        for crops, device in work(_portion(dataset, path, rows) for path, rows in missing.items()):
            devices.add(device)
            advance(crops, "")
    return devices


def _portion(dataset: AlignedDataset, path: Path, rows: NDArray[np.int64]) -> _Portion:
    return _Portion(path, dataset.photos(rows), dataset.crops.some(rows))


def about_portions(embedder: Embedder, dataset: AlignedDataset, *, flip: bool) -> dict[str, str | bool]:
    """What the embeddings in a folder are of."""
    return {
        "model_sha256": embedder.sha256,
        "preprocessing": embedder.preprocessing,
        "data_sha256": dataset.sha256,
        "flip": flip,
    }


def remove_others(folder: Path, about: dict[str, str | bool]) -> None:
    """Remove portions that were begun with something else, and say so; those of the same stay.

    Args:
        folder: for the portions; it need not exist.
        about: what they will be of.

    Raises:
        InputError: the path is a file, or a folder that was not begun for portions or holds other files too.
    """
    try:
        begun = read_json(folder / _ABOUT_NAME)
    except (InputError, OSError):  # none, or damaged
        begun = {}
    if begun == about:
        return
    _refuse_foreign(folder)
    if folder.is_dir() and any(folder.iterdir()):
        differs = [spoken for key, spoken in _SPOKEN.items() if begun.get(key) != about[key]]
        origin = " and ".join(differs) or "another version"
        say(f"replacing the embeddings in {folder}, which are of {origin}")
        shutil.rmtree(folder)


def _refuse_foreign(folder: Path) -> None:
    """Stop where a path is no folder of portions, so that nothing of somebody else is removed."""
    there = list(folder.iterdir()) if folder.is_dir() else []
    others = sorted(
        path.name
        for path in there
        if not _OURS.fullmatch(path.name) and not (path.is_file() and left_by_the_system(path.name))
    )
    begun = (folder / _ABOUT_NAME).is_file()
    is_free = not folder.exists() or (folder.is_dir() and not there)
    if others or not (begun or is_free):
        raise InputError(
            "--out",
            "must have room for a folder of embeddings",
            got=f"{folder}" + (f", which holds {few(others, most=2)}" if others else ""),
            fix=f"Name another --out, or move {folder} elsewhere.",
        )


def _kept(path: Path, count: int) -> SealedTensors | None:
    """A portion; None where there is none, or the file is damaged: it is made again."""
    kept = sealed_or_none(path, metadata_key=_METADATA_KEY)
    embeddings = None if kept is None else kept.tensors.get(_EMBEDDINGS)
    return kept if embeddings is not None and embeddings.ndim == 2 and len(embeddings) == count else None


def _begin(folder: Path, about: dict[str, str | bool]) -> None:
    """Say what the embeddings are of, or compare with what was said."""
    path = folder / _ABOUT_NAME
    if not path.exists():
        write_json(path, about)
    begun = read_json(path)
    if begun != about:
        differs = ", ".join(f"{key} {begun.get(key)}" for key in about if begun.get(key) != about[key])
        raise InputError(
            "--out",
            "must have been begun with the same model, --preprocess, --output, data and --flip",
            got=differs,
            fix="Name another folder.",
        )
