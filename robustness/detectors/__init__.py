"""Detectors: features in, a score out, higher = more adversarial. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Iterable

from data_prep.errors import InputError
from robustness.attacked_model import AttackedModel
from robustness.detectors.base import Detector
from robustness.detectors.center import CenterLikelihood
from robustness.detectors.disagreement import CropDisagreement, FeatureSqueezing, JPEGDisagreement
from robustness.detectors.energy import Energy
from robustness.detectors.knn import NearestNeighbours
from robustness.detectors.lgm import LGMClassLikelihood, LGMGaussianLikelihood, LGMMixtureLikelihood
from robustness.detectors.mahalanobis import Mahalanobis
from robustness.detectors.softmax import Affinity, MaxProbability
from robustness.detectors.views import View

DETECTORS: dict[str, type[Detector]] = {
    "lgm_class": LGMClassLikelihood,
    "lgm_gaussian": LGMGaussianLikelihood,
    "lgm_mixture": LGMMixtureLikelihood,
    "center": CenterLikelihood,
    "affinity": Affinity,
    "max_probability": MaxProbability,
    "energy": Energy,
    "mahalanobis": Mahalanobis,
    "knn": NearestNeighbours,
    "feature_squeezing": FeatureSqueezing,
    "jpeg_disagreement": JPEGDisagreement,
    "crop_disagreement": CropDisagreement,
}


def build_detector(name: str, model: AttackedModel) -> Detector:
    """The detector of that name, not fitted yet.

    Raises:
        InputError: there is none, or it needs what the model does not have.
    """
    if name not in DETECTORS:
        raise InputError(
            "detector", "must be a known one", got=name, fix=f"Use one of: {', '.join(DETECTORS)}."
        )
    return DETECTORS[name](model)


def views_of(detectors: Iterable[Detector]) -> dict[str, View]:
    """Every view that some of the detectors need, by name."""
    return {name: view for detector in detectors for name, view in detector.views.items()}


__all__ = ["DETECTORS", "Detector", "build_detector", "views_of"]
