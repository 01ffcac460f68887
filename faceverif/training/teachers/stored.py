"""A teacher that has seen every crop and its mirror image before the training."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.atomic import refuse_file
from data_prep.progress import progress
from faceverif.models import Embedder
from faceverif.models.embedder import naming
from faceverif.models.sealed_tensors import sealed_or_none, write_sealed
from faceverif.training.data import TrainingPhotos
from faceverif.training.teachers.base import Teacher, TeacherOutput

_BATCH = 128  # crops in memory at a time: 5 MB
_PORTION = 32 * _BATCH  # photos in a file while the teacher is asked; 17 MB at 512 dimensions
_METADATA_KEY = "faceverif.teacher"


class ToEmbed(NamedTuple):
    """What is to be done before the first step.

    Attributes:
        photos: whose embeddings are not stored yet.
        seconds: that these take.
        megabytes: of all embeddings, in memory and on the disk.
    """

    photos: int
    seconds: float
    megabytes: float


class StoredTeacher(Teacher):
    """Embeddings of all training photos, computed once per teacher and data and then read from a file.

    While they are computed they are kept in portions, so that an interrupted run continues.

    Args:
        embedder: the model.
        photos: what is trained on.
        folder: where the file lies. Its name follows from teacher and data, so a folder serves several.

    Raises:
        InputError: a crop cannot be read, or an embedding is not finite.
    """

    def __init__(self, embedder: Embedder, photos: TrainingPhotos, *, folder: Path) -> None:
        self.embedder = embedder
        key = hashlib.sha256(f"{embedder.sha256} {embedder.preprocessing} {photos.sha256}".encode())
        key.update(photos.rows.tobytes())
        self.path = folder / f"embeddings-{key.hexdigest()[:16]}.safetensors"
        self._photos = photos
        self._embeddings: Tensor | None = None

    def begin(self) -> None:
        """Read the file, or make it.

        Raises:
            InputError: it cannot be written, or a crop cannot be read.
        """
        self._embeddings = _read(self.path, len(self._photos))
        if self._embeddings is None:
            refuse_file(self.path.parent, option="teacher.folder")
            self._embeddings = self._embedded()
            _write(self.path, self._embeddings)
            shutil.rmtree(self.path.with_suffix(""), ignore_errors=True)

    def rehearse(self, *, sampled: int) -> ToEmbed:
        """Make ready for a few steps, and write nothing: where there is no file, a few photos stand for all.

        Args:
            sampled: how many photos are embedded to measure the pace.
        """
        rows = self._photos.rows
        self._embeddings = _read(self.path, len(rows))
        if self._embeddings is not None:
            return ToEmbed(0, 0.0, self._embeddings.nbytes / 1e6)
        missing = sum(len(some) for path, some in self._portions() if _read(path, len(some)) is None)
        begun = time.monotonic()
        self._embeddings = torch.from_numpy(_of_both_sides(self.embedder, self._photos, rows[:sampled]))
        pace_s = (time.monotonic() - begun) / self._embeddings.shape[1]
        bytes_each = self._embeddings[:, 0].nbytes
        return ToEmbed(missing, missing * pace_s, len(rows) * bytes_each / 1e6)

    def output(self, pixels: Tensor, photos: Tensor, mirrored: Tensor) -> TeacherOutput:
        """Looked up.

        Raises:
            ValueError: neither `begin` nor `rehearse` was called.
        """
        if self._embeddings is None:
            raise ValueError("nothing is stored yet")
        known = self._embeddings.shape[1]  # fewer than there are photos in a rehearsal
        found = self._embeddings[mirrored.long().cpu(), photos.cpu() % known]
        return TeacherOutput(found.to(pixels.device), {})

    def _embedded(self) -> Tensor:
        """(2, photos, dim) of all crops and of their mirror images; portions that are there are read."""
        parts = []
        with progress("teacher", total=len(self._photos)) as advance:
            for path, rows in self._portions():
                part = _read(path, len(rows))
                if part is None:
                    part = self._of_portion(rows, advance)
                    _write(path, part)
                else:
                    advance(len(rows), "")
                parts.append(part)
        return torch.cat(parts, dim=1)

    def _of_portion(self, rows: NDArray[np.int64], advance: Callable[[int, str], None]) -> Tensor:
        found = []
        for start in range(0, len(rows), _BATCH):
            some = rows[start : start + _BATCH]
            found.append(_of_both_sides(self.embedder, self._photos, some))
            advance(len(some), "")
        return torch.from_numpy(np.concatenate(found, axis=1))

    def _portions(self) -> Iterator[tuple[Path, NDArray[np.int64]]]:
        """Files for the embeddings of some photos, and the photos' rows."""
        rows, folder = self._photos.rows, self.path.with_suffix("")
        for start in range(0, len(rows), _PORTION):
            yield folder / f"{start:08}.safetensors", rows[start : start + _PORTION]


def _read(path: Path, photos: int) -> Tensor | None:
    """(2, photos, dim); None where there is no file, or a damaged one: it is made again."""
    kept = sealed_or_none(path, metadata_key=_METADATA_KEY)
    found = None if kept is None else kept.tensors.get("embeddings")
    return found if found is not None and found.ndim == 3 and found.shape[:2] == (2, photos) else None


def _write(path: Path, embeddings: Tensor) -> None:
    write_sealed(path, {"embeddings": embeddings}, {}, metadata_key=_METADATA_KEY)


def _of_both_sides(
    embedder: Embedder, photos: TrainingPhotos, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    crops = photos.dataset.crops.read(rows)
    with naming([photos.dataset.crops.name(row) for row in rows]):
        return np.stack([embedder.embed(crops), embedder.embed(crops[:, :, ::-1])])
