"""Embeddings and logits of images, computed once; detectors see nothing else."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robustness.attacked_model import AttackedModel, embedded, refuse_unfit_model


class Features(NamedTuple):
    """What a model says of images.

    Attributes:
        embeddings: (N, dim), raw.
        logits: (N, classes), margin-free.
        labels: (N,) int64, the true classes; of attacked images those of the clean ones.
    """

    embeddings: Tensor
    logits: Tensor
    labels: Tensor

    @property
    def predicted(self) -> Tensor:
        """(N,) the class with the largest logit."""
        return self.logits.argmax(dim=1)

    @property
    def correct(self) -> Tensor:
        """(N,) bool, whether that is the true class."""
        return self.predicted == self.labels

    def cpu(self) -> Features:
        """The same on the CPU."""
        return Features(self.embeddings.cpu(), self.logits.cpu(), self.labels.cpu())

    def take(self, which: Tensor) -> Features:
        """The features of those images: indices or a mask."""
        return Features(self.embeddings[which], self.logits[which], self.labels[which])


def extract_features(model: AttackedModel, images: Tensor, labels: Tensor, *, portion: int = 500) -> Features:
    """Embeddings and logits of any number of images, on the CPU, without gradients.

    Args:
        model: in evaluation mode.
        images: (N, C, H, W), uint8, or float32 in [0, 1].
        labels: (N,) int64.
        portion: images at once; memory does not depend on N.

    Raises:
        InputError: a model in training mode, or pixels out of range.
    """
    refuse_unfit_model(model)
    embeddings, logits = [], []
    with torch.no_grad():
        for some in embedded(model.network, images, portion=portion):
            embeddings.append(some.cpu())
            logits.append(model.head.logits(some).cpu())
    return Features(torch.cat(embeddings), torch.cat(logits), labels.cpu())
