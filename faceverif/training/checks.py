"""Verification during training: what it needs is read before the first step, so that nothing fails late."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.dataset.manifest import AlignedDataset
from data_prep.dataset.packed import load_aligned
from data_prep.protocols import VerificationProtocol, protocol_on
from faceverif.config.run import VerificationConfig
from faceverif.models import Embedder, PreprocessingSpec
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.result import VerificationResult
from faceverif.verification.runner import evaluate
from faceverif.verification.scoring import PairPhotos
from faceverif.verification.seen_photos import seen_warning


@dataclass(frozen=True)
class VerificationCheck:
    """A protocol and its photos, in memory and known to fit the model.

    Attributes:
        config: the entry of the run's config.
        dataset: the photos.
        protocol: the pairs.
        photos: those of the pairs.
    """

    config: VerificationConfig
    dataset: AlignedDataset
    protocol: VerificationProtocol
    photos: PairPhotos

    @classmethod
    def load(cls, config: VerificationConfig, spec: PreprocessingSpec) -> VerificationCheck:
        """Read photos and pairs.

        Raises:
            InputError: something is missing, or the crops are not those that the model is made for.
        """
        dataset = load_aligned(config.data, field=f"verification.{config.name}.data")
        spec.refuse_other(dataset.header)
        protocol = protocol_on(config.protocol, dataset, allow_partial=config.allow_partial)
        return cls(config, dataset, protocol, PairPhotos.of(protocol, dataset))

    def seen_warning(self, embedder: Embedder, trained: NDArray[np.uint64]) -> str | None:
        """A warning where it verifies the model on photos whose `fingerprints` are those of the training."""
        warning = seen_warning(embedder, self.dataset, self.photos.with_crop, trained=trained)
        return warning and f"warning: {self.config.name}: {warning}"

    def is_due(self, epoch: int, *, last: bool) -> bool:
        """Whether it runs after that epoch, counted from 1."""
        return last or epoch % self.config.every_epochs == 0

    def run(self, embedded: EmbeddedPhotos) -> VerificationResult:
        """The result of a model as it is now, with `config.flip` on the photos of `dataset`."""
        return evaluate(embedded, self.protocol, subtract_mean=self.config.subtract_mean, found=self.photos)
