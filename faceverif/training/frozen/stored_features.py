"""Features of a frozen layer, computed once for every photo and its mirror image, and kept for all runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_prep.atomic import written_whole
from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import DAMAGE, InputError
from data_prep.progress import progress
from data_prep.system_errors import system_trouble
from faceverif.models import PreprocessingSpec, TorchEmbedder
from faceverif.models.embedder import naming
from faceverif.models.model_file import evaluating
from faceverif.training.frozen.split import split_at
from faceverif.verification.embeddings import BATCH, EmbeddedPhotos

_PORTION = 512  # photos in a file


class _File(NamedTuple):
    """A file of records; the first one follows a header of `header_bytes`.

    It is opened for each read, since a process may hold only about a thousand files open.
    """

    path: Path
    header_bytes: int

    def read(self, record: int, dtype: np.dtype[np.void]) -> np.void:
        """The record with that number.

        Raises:
            InputError: the file is gone or cut off since it was looked at.
        """
        start = self.header_bytes + record * dtype.itemsize
        try:
            return np.fromfile(self.path, dtype, count=1, offset=start)[0]
        except (FileNotFoundError, IndexError):
            raise InputError(
                "training.stored_features.folder",
                "must keep its files while a run reads them",
                got=f"{self.path}, which is gone or cut off",
                fix="Run the same command again: it computes that file again, and continues.",
            ) from None


class StoredFeatures:
    """The output of one layer of a backbone, by photo.

    Files of 512 photos each lie in FOLDER/features-KEY. The key follows from the data set and from all that
    lies before the layer, so a folder serves many runs, layers and data sets. A photo is stored when `fill`
    first names it; an interrupted `fill` continues with the portion that is missing.

    Args:
        backbone: on its device. What lies before the layer must not change any more.
        layer: of the backbone.
        spec: the crops that it takes.
        dataset: the photos.
        folder: where the features of all runs lie.

    Attributes:
        shape: of the features of one photo.
        path: where the files of this data set lie.

    Raises:
        InputError: the network cannot be cut at the layer.
    """

    def __init__(
        self,
        backbone: nn.Module,
        layer: str,
        *,
        spec: PreprocessingSpec,
        dataset: AlignedDataset,
        folder: Path,
    ) -> None:
        before = split_at(backbone, layer).before
        self.dataset, self.layer = dataset, layer
        self._embedder = TorchEmbedder(nn.Sequential(before, nn.Flatten()), spec, name=f"layer {layer}")
        device, side = self._embedder.device, spec.input_px
        with torch.inference_mode(), evaluating(before):
            self.shape = tuple(before(torch.full((1, 3, side, side), 0.5, device=device)).shape[1:])
        self._record = np.dtype([("row", "<i8"), ("views", "<f4", (2, *self.shape))])
        key = f"{_identity(before)} {spec} {dataset.sha256} {self.shape}"
        self.path = folder / f"features-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        self._portions: list[_File | NDArray[np.void]] = []
        self._place = np.full((len(dataset), 2), -1)  # portion and record of each row
        for path in sorted(self.path.glob("[0-9]*.npy")):
            self._open(path)

    @property
    def bytes_per_photo(self) -> int:
        """On the disk."""
        return self._record.itemsize

    def missing(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the rows whose features are not known yet, each once."""
        return np.unique(rows[self._place[rows, 0] < 0])

    def fill(self, rows: NDArray[np.int64]) -> None:
        """Compute and store what is missing.

        Args:
            rows: of the data set, with a crop.

        Raises:
            InputError: a crop cannot be read, features are not finite, or the disk is full.
        """
        missing = self.missing(rows)
        if not len(missing):
            return
        with progress("features", total=len(missing)) as advance:
            for start in range(0, len(missing), _PORTION):
                portion = missing[start : start + _PORTION]
                path = self.path / f"{portion[0]:08}-{portion[-1]:08}-{len(portion)}.npy"
                with written_whole(path) as unfinished:
                    np.save(unfinished, self._computed(portion))
                self._open(path)
                advance(len(portion), "")

    def views(self, rows: NDArray[np.int64]) -> Tensor:
        """Features of crops and of their mirror images, (rows, 2, *shape) float32.

        What is not stored is computed, and kept in memory alone: a rehearsal writes nothing.
        """
        missing = self.missing(rows)
        if len(missing):
            computed = self._computed(missing)
            self._take(computed, rows=computed["row"])
        found = np.empty((len(rows), 2, *self.shape), np.float32)
        for place, (number, record) in enumerate(self._place[rows].tolist()):
            portion = self._portions[number]
            stored = portion.read(record, self._record) if isinstance(portion, _File) else portion[record]
            found[place] = stored["views"]
        return torch.from_numpy(found)

    def _computed(self, rows: NDArray[np.int64]) -> NDArray[np.void]:
        """(rows,) records."""
        records = np.empty(len(rows), self._record)
        records["row"] = rows
        crops = self.dataset.crops
        for start in range(0, len(rows), BATCH):
            part = slice(start, start + BATCH)
            pixels = crops.read(rows[part])
            with naming([crops.name(row) for row in rows[part]]):
                for view, shown in enumerate((pixels, pixels[:, :, ::-1])):
                    records["views"][part, view] = self._embedder.embed(shown).reshape(-1, *self.shape)
        return records

    def _open(self, path: Path) -> None:
        """Take a file's photos, unless it is damaged: they are then computed again."""
        try:
            records = np.load(path, mmap_mode="r")
            rows = np.array(records["row"])
            if records.dtype != self._record or rows.min() < 0 or rows.max() >= len(self._place):
                return
        except (OSError, EOFError, *DAMAGE) as error:
            if system_trouble(error) is not None:  # no rights, too many open files: the file may be whole
                raise
            return
        self._take(_File(path, records.offset), rows=rows)

    def _take(self, portion: _File | NDArray[np.void], *, rows: NDArray[np.int64]) -> None:
        self._place[rows] = np.column_stack([np.full(len(rows), len(self._portions)), np.arange(len(rows))])
        self._portions.append(portion)


class EmbeddedFeatures(EmbeddedPhotos):
    """Embeddings of a data set's photos, computed from the features of a layer.

    Args:
        embedder: a model whose part before the layer is that of the features.
        features: of the data set's photos.
        flip: see `EmbeddedPhotos`.
    """

    def __init__(self, embedder: TorchEmbedder, features: StoredFeatures, *, flip: bool) -> None:
        super().__init__(embedder, features.dataset, flip=flip)
        self._features = features
        self._behind = split_at(embedder.backbone, features.layer).behind
        self._device = embedder.device

    def _embed(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.concatenate(list(self._batches(rows)))

    def _batches(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        views = 2 if self.flip else 1
        for start in range(0, len(rows), BATCH):
            found = self._features.views(rows[start : start + BATCH])[:, :views].to(self._device)
            with torch.inference_mode(), evaluating(self._behind):
                embeddings = self._behind(found.flatten(0, 1)).float()
            yield embeddings.unflatten(0, (-1, views)).mean(dim=1).cpu().numpy()


def _identity(part: nn.Module) -> str:
    """Hash of layers, settings, parameters and buffers, the ones that no file holds included."""
    found = hashlib.sha256(str(part).encode())
    for name, tensor in chain(part.named_parameters(), part.named_buffers()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
