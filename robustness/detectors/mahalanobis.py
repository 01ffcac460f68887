"""Mahalanobis distance to the nearest class, one covariance for all."""

from __future__ import annotations

import torch
from torch import Tensor

from data_prep.errors import InputError
from robustness.detectors.base import Detector, elsewhere
from robustness.features import Features


def images_needed(*, classes: int, embedding_dim: int) -> int:
    """How many images `Mahalanobis` is fitted on at least: with fewer the covariance would be singular."""
    return classes + embedding_dim


class Mahalanobis(Detector):
    """min_k 1/2 (x - mu_k)' P (x - mu_k), Lee et al., "A Simple Unified Framework" (2018), Eqs. 1 and 2.

    Means and covariance are those of the clean embeddings; P is the pseudo-inverse of the covariance, as in
    the paper's code, so directions in which nothing varies do not count. The scores of
    pytorch-ood have no gradients, and it inverts a covariance in float32 that ReLU makes singular.

    Raises:
        InputError: from `fit`, the number of images minus that of classes is below the embedding's dimension,
            so that the covariance would be singular.
    """

    needs_classes = False
    learnt = ("means", "precision")
    means: Tensor
    precision: Tensor

    def learn(self, clean: Features) -> None:
        """Class means and the precision of what is left without them."""
        from sklearn.covariance import EmpiricalCovariance

        present, place = clean.labels.unique(return_inverse=True)
        self._refuse_too_few(len(clean.labels), classes=len(present))
        x = clean.embeddings.detach().double().cpu()
        sums = torch.zeros(len(present), x.shape[1], dtype=x.dtype).index_add_(0, place.cpu(), x)
        self.means = sums / place.bincount()[:, None].cpu()
        within = x - self.means[place.cpu()]
        estimate = EmpiricalCovariance(assume_centered=True).fit(within.numpy())
        self.precision = torch.from_numpy(estimate.get_precision())

    def _refuse_too_few(self, images: int, *, classes: int) -> None:
        needed = images_needed(classes=classes, embedding_dim=self.embedding_dim)
        if images < needed:
            raise InputError(
                "fit",
                f"mahalanobis needs {needed:,} training images or more: one for each of {classes:,} classes, "
                f"and {self.embedding_dim:,} beyond, the dimension of the embeddings",
                got=f"{images:,}",
                fix="Raise fit, train on more images, or use another detector.",
            )

    def judge(self, features: Features) -> Tensor:
        """Half the smallest squared distance, the square multiplied out in float64."""
        x = features.embeddings.double()
        means, precision = elsewhere(self.means, x), elsewhere(self.precision, x)
        weighted = means @ precision
        own = torch.linalg.vecdot(x @ precision, x)[:, None]
        squared = own - 2.0 * x @ weighted.T + torch.linalg.vecdot(weighted, means)
        return 0.5 * squared.amin(dim=1).clamp_min(0.0)
