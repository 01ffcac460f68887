"""A teacher that has seen every crop and its mirror image before the training."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from data_prep.errors import DAMAGE
from data_prep.progress import progress
from faceverif.models import Embedder
from faceverif.models.embedder import naming
from faceverif.models.sealed_tensors import read_sealed, write_sealed
from faceverif.training.data import TrainingPhotos
from faceverif.training.teachers.base import Teacher, TeacherOutput

_PORTION = 128  # crops in memory at a time: 5 MB
_METADATA_KEY = "faceverif.teacher"


class StoredTeacher(Teacher):
    """Embeddings of all training photos, computed once per teacher and data and then read from a file.

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
        """Read the file, or make it."""
        self._embeddings = self._read(len(self._photos))
        if self._embeddings is None:
            self._embeddings = _embedded(self.embedder, self._photos)
            write_sealed(self.path, {"embeddings": self._embeddings}, {}, metadata_key=_METADATA_KEY)

    def output(self, pixels: Tensor, photos: Tensor, mirrored: Tensor) -> TeacherOutput:
        """Looked up; in a rehearsal, which writes nothing, computed."""
        if self._embeddings is None:
            rows = self._photos.rows[photos.cpu().numpy()]
            found = torch.from_numpy(_of_both_sides(self.embedder, self._photos, rows))
            found = found[mirrored.long().cpu(), torch.arange(len(photos))]
        else:
            found = self._embeddings[mirrored.long().cpu(), photos.cpu()]
        return TeacherOutput(found.to(pixels.device), {})

    def _read(self, photos: int) -> Tensor | None:
        """(2, photos, dim); None where there is no file, or a damaged one: it is made again."""
        try:
            found = read_sealed(self.path, metadata_key=_METADATA_KEY).tensors["embeddings"]
        except (SafetensorError, OSError, *DAMAGE):
            return None
        return found if found.ndim == 3 and found.shape[:2] == (2, photos) else None


def _embedded(embedder: Embedder, photos: TrainingPhotos) -> Tensor:
    """(2, photos, dim) of all crops and of their mirror images."""
    parts = []
    with progress("teacher", total=len(photos)) as advance:
        for start in range(0, len(photos), _PORTION):
            rows = photos.rows[start : start + _PORTION]
            parts.append(_of_both_sides(embedder, photos, rows))
            advance(len(rows), "")
    return torch.from_numpy(np.concatenate(parts, axis=1))


def _of_both_sides(
    embedder: Embedder, photos: TrainingPhotos, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    crops = photos.dataset.crops.read(rows)
    with naming([photos.dataset.crops.name(row) for row in rows]):
        return np.stack([embedder.embed(crops), embedder.embed(crops[:, :, ::-1])])
