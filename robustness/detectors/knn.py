"""k nearest neighbours: how far the clean embeddings are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from pytorch_ood.detector import KNN
from torch import Tensor
from torch.nn import functional as F

from data_prep.errors import InputError
from robustness.detectors.base import Detector, elsewhere
from robustness.features import Features

# Which neighbour counts, as in the paper for CIFAR-10.
NEIGHBOUR = 50


class NearestNeighbours(Detector):
    """Distance to the k-th nearest clean embedding, all of unit length: Sun et al. (2022), Sec. 3.

    pytorch-ood finds the neighbour; the distance to it is taken here, where it has a gradient.
    """

    needs_classes = False
    learnt = ("clean",)
    clean: Tensor

    def learn(self, clean: Features) -> None:
        """Keep the clean embeddings."""
        if len(clean.labels) < NEIGHBOUR:
            raise InputError(
                "fit",
                f"knn needs {NEIGHBOUR} training images or more",
                got=len(clean.labels),
                fix="Raise fit, train on more images, or use another detector.",
            )
        self.clean = F.normalize(clean.embeddings.detach().cpu())
        self._index()

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take over the clean embeddings."""
        super().restore(state)
        self._index()
        return self

    def _index(self) -> None:
        no_labels = torch.zeros(len(self.clean), dtype=torch.int64)
        self._found = KNN(None, k=NEIGHBOUR).fit_features(self.clean, no_labels)
        # By default it starts one thread per core at every call, which takes longer than the search.
        self._found.knn.set_params(n_jobs=1)

    def judge(self, features: Features) -> Tensor:
        """The distance."""
        unit = F.normalize(features.embeddings)
        neighbours = self._found.knn.kneighbors(
            unit.detach().cpu().numpy(), n_neighbors=NEIGHBOUR, return_distance=False
        )
        kth = self.clean[torch.from_numpy(neighbours[:, -1])]
        return torch.linalg.vector_norm(unit - elsewhere(kth, unit), dim=1)
