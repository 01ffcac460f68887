"""Verification by the Mahalanobis distance after PCA, as the L-GM paper verifies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.errors import InputError
from faceverif.report.numbers import percent
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.scoring import PairPhotos

# Directions beyond it hold little but noise, which division by their spread would blow up.
_KEPT_VARIANCE = 0.99


@dataclass(frozen=True)
class FittedMahalanobis:
    """PCA of raw embeddings, and the variance along each direction that was kept.

    Wan et al. (2018), Sec. 4.2, verify L-GM by PCA of the embeddings and the Mahalanobis distance, without
    saying more. Here the directions with 99 % of the variance are kept. The distance d does not depend on the
    mean, so only differences of embeddings are projected.

    Attributes:
        whitening: (dim, kept) directions, each divided by the standard deviation along it.
        photos: how many it was fitted on.
        data: where they lie.
        data_sha256: of that data set.
    """

    whitening: NDArray[np.float64]
    photos: int
    data: str
    data_sha256: str

    @classmethod
    def fit(cls, embedded: EmbeddedPhotos) -> FittedMahalanobis:
        """Fitted on every photo with a face of a data set.

        Args:
            embedded: a model on aligned training photos, none of which is verified.

        Raises:
            InputError: the data set was cut for another model, or its photos are too few.
        """
        dataset = embedded.dataset
        rows = _with_a_face(dataset)
        embeddings = embedded.of(rows).astype(np.float64) if len(rows) else np.empty((0, 0))
        if len(rows) <= embeddings.shape[1]:
            dim = embeddings.shape[1] or "many"
            raise InputError(
                "--fit",
                f"must hold more photos with a face than an embedding has numbers, {dim}",
                got=f"{len(rows):,} in {dataset.root}",
                fix="Name the photos that the model was trained on, or others like them.",
            )
        whitening = _whitening(np.cov(embeddings, rowvar=False).reshape(2 * embeddings.shape[1:]))
        return cls(whitening, len(rows), str(dataset.root), dataset.sha256)

    @property
    def rule(self) -> str:
        """How pairs are scored, in words."""
        return (
            f"1 / (1 + d), d the Mahalanobis distance of raw embeddings in the {self.whitening.shape[1]} "
            f"directions that hold {percent(_KEPT_VARIANCE, 0)} % of the variance of {self.photos:,} photos "
            f"in {self.data} ({self.data_sha256[:12]})"
        )

    def scores(self, photos: PairPhotos, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
        """(pairs,) 1 / (1 + d) in (0, 1] of raw embeddings, (photos, dim): higher is more alike."""
        difference = embeddings[photos.left].astype(np.float64) - embeddings[photos.right]
        return 1.0 / (1.0 + np.linalg.norm(difference @ self.whitening, axis=1))


def _with_a_face(dataset: AlignedDataset) -> NDArray[np.int64]:
    status = dataset.column("status")
    return np.flatnonzero((status != Status.FAILED.value) & (status != Status.NO_FACE.value))


def _whitening(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = variances[::-1], directions[:, ::-1]
    if not variances[0] > 0:
        raise InputError(
            "--fit",
            "must hold photos with different embeddings",
            got="the same embedding for all of them",
            fix="Check the model: it does not look at its input.",
        )
    shares = variances.cumsum() / variances.sum()
    kept = int(np.searchsorted(shares, _KEPT_VARIANCE)) + 1
    return directions[:, :kept] / np.sqrt(variances[:kept])
