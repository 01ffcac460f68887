"""Crops of an aligned data set as `LabelledImages`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.dataset.crops import centre_square
from data_prep.dataset.manifest import AlignedDataset

# The label of a person that the model was not trained on.
STRANGER = -1


@dataclass(frozen=True)
class FaceImages:
    """Crops on disk, read when they are asked for.

    Attributes:
        dataset: where the crops are.
        rows: (N,) int64, manifest rows that have a crop.
        labels: (N,) int64, an index into class_names, or STRANGER.
        class_names: people, in the order of the logits.
        input_px: side of an image as it is read, cut from the middle of the crop.
    """

    dataset: AlignedDataset
    rows: NDArray[np.int64]
    labels: Tensor
    class_names: tuple[str, ...]
    input_px: int

    @classmethod
    def of_strangers(cls, dataset: AlignedDataset, rows: NDArray[np.int64], *, input_px: int) -> Self:
        """Photos of people who are no classes."""
        return cls(dataset, rows, torch.full((len(rows),), STRANGER), (), input_px)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image as it is read."""
        return 3, self.input_px, self.input_px

    def read(self, which: Tensor) -> Tensor:
        """Those images, (len(which), 3, input_px, input_px) uint8.

        Raises:
            InputError: a crop is missing or broken.
        """
        crops = centre_square(self.dataset.crops.read(self.rows[which.numpy()]), self.input_px)
        return torch.from_numpy(crops).permute(0, 3, 1, 2)

    def take(self, which: Tensor) -> Self:
        """The set of those images, in that order."""
        return replace(self, rows=self.rows[which.numpy()], labels=self.labels[which])

    def sha256(self) -> str:
        """Hash over the manifest, which rows of it, and labels; not over the crops' pixels."""
        digest = hashlib.sha256(self.dataset.sha256.encode())
        for numbers in (self.rows, self.labels.numpy()):
            digest.update(numbers.tobytes())
        return digest.hexdigest()
