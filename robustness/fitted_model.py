"""A trained model with fitted detectors, and the choice of images they are fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch

from faceverif.classification.data import in_turns
from faceverif.images.base import LabelledImages
from robustness.attacked_model import AttackedModel
from robustness.detectors import Detector, views_of
from robustness.detectors.rejection_threshold import RejectionThreshold, calibrate
from robustness.detectors.views import View
from robustness.features import Features, extract_features

# Images that are in memory as float32 at once.
PORTION = 1000


@dataclass(frozen=True)
class FittedModel:
    """A training of a model with its detectors, which have no thresholds yet.

    Attributes:
        model: in evaluation mode.
        fitted_on: clean training images, which the detectors know; feature matching takes its guides there.
        detectors: fitted, the model's own first.
    """

    model: AttackedModel
    fitted_on: Features
    detectors: dict[str, Detector]

    @classmethod
    def of(
        cls, model: AttackedModel, images: LabelledImages, *, detectors: dict[str, Detector]
    ) -> FittedModel:
        """Fit detectors on images that the model was trained on."""
        fitted_on = features_of(model, images)
        fitted = {name: detector.fit(fitted_on) for name, detector in detectors.items()}
        return cls(model, fitted_on, fitted)

    @property
    def views(self) -> dict[str, View]:
        """Every view that its detectors need."""
        return views_of(self.detectors.values())

    def features(self, images: LabelledImages) -> Features:
        """What the model makes of images, with the views of its detectors."""
        return features_of(self.model, images, views=self.views)

    def calibrated(self, clean: Features, rates: Sequence[float]) -> dict[str, list[RejectionThreshold]]:
        """The thresholds of each detector at these rates, from features of clean images."""
        return {
            name: [calibrate(detector.score(clean), rate) for rate in rates]
            for name, detector in self.detectors.items()
        }


def evenly(images: LabelledImages, count: int, *, seed: int) -> LabelledImages:
    """`count` random images, the classes in turns, so that they hold them evenly; all if there are fewer."""
    shuffled = np.random.default_rng(seed).permutation(len(images))
    return images.take(in_turns(images.labels, torch.from_numpy(shuffled))[:count])


def whole_classes(images: LabelledImages, count: int, *, spare: int, seed: int) -> LabelledImages:
    """All images of some classes at random.

    Args:
        images: labelled.
        count: minimum number of images, where available.
        spare: minimum number of images beyond one per class, where available.
        seed: of the choice.
    """
    present, sizes = images.labels.unique(return_counts=True)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(present)))
    taken = sizes[order].cumsum(0)
    beyond = taken - torch.arange(1, len(present) + 1)
    needed = int(((taken < count) | (beyond < spare)).sum()) + 1
    return images.take(torch.isin(images.labels, present[order[:needed]]).nonzero()[:, 0])


def features_of(
    model: AttackedModel, images: LabelledImages, *, views: Mapping[str, View] = MappingProxyType({})
) -> Features:
    """What a model makes of any number of images, and of views of them, portion by portion."""
    parts = [
        extract_features(model, images.read(which), images.labels[which], views=views)
        for which in torch.arange(len(images)).split(PORTION)
    ]
    return Features.joined(parts)
