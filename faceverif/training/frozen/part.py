"""What a run knows of its photos when it stores features of a frozen layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from data_prep.dataset.manifest import AlignedDataset
from faceverif.config.run import RunConfig
from faceverif.models import PreprocessingSpec, TorchEmbedder
from faceverif.training.data import Batch, TrainingPhotos
from faceverif.training.frozen.stored_features import EmbeddedFeatures, StoredFeatures
from faceverif.training.order import RemainingBatches

Photos = tuple[AlignedDataset, NDArray[np.int64]]


class FrozenPart:
    """The features of every data set that a run reads.

    Args:
        backbone: of the run. Its frozen part has its weights when the first features are asked for.
        layer: the last one that is frozen.
        spec: the crops that the backbone takes.
        folder: where features lie.
    """

    def __init__(self, backbone: nn.Module, layer: str, *, spec: PreprocessingSpec, folder: Path) -> None:
        self.layer, self.folder = layer, folder
        self._backbone, self._spec = backbone, spec
        self._features: dict[str, StoredFeatures] = {}

    @classmethod
    def of(cls, config: RunConfig, backbone: nn.Module, spec: PreprocessingSpec) -> FrozenPart | None:
        """The part that a config names; None where it stores no features."""
        stored = config.training.stored_features
        return None if stored is None else cls(backbone, stored.layer, spec=spec, folder=stored.folder)

    def features(self, dataset: AlignedDataset) -> StoredFeatures:
        """Of the photos of a data set."""
        if dataset.sha256 not in self._features:
            self._features[dataset.sha256] = StoredFeatures(
                self._backbone, self.layer, spec=self._spec, dataset=dataset, folder=self.folder
            )
        return self._features[dataset.sha256]

    def fill(self, photos: Sequence[Photos]) -> None:
        """Compute and store what is missing; see `StoredFeatures.fill`."""
        for dataset, rows in photos:
            self.features(dataset).fill(rows)

    def batches(self, photos: TrainingPhotos, order: RemainingBatches) -> Iterator[Batch]:
        """Features in place of crops, in that order."""
        features, labels = self.features(photos.dataset), torch.from_numpy(photos.labels)
        for batch in order:
            yield Batch(features.views(photos.rows[batch]), labels[batch], torch.tensor(batch))

    def embedded(self, embedder: TorchEmbedder, dataset: AlignedDataset, *, flip: bool) -> EmbeddedFeatures:
        """Photos of a data set under a model whose part behind the layer has learnt."""
        return EmbeddedFeatures(embedder, self.features(dataset), flip=flip)
