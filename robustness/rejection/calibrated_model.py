"""A trained model ready to be attacked: its detectors are fitted and their thresholds calibrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from data_prep.errors import InputError
from robustness.attacked_model import AttackedModel, answers_differ
from robustness.attacks.knowledge import Knowledge
from robustness.detectors import Detector, build_detector
from robustness.detectors.rejection_threshold import RejectionThreshold
from robustness.features import Features, extract_features
from robustness.fitted_model import FittedModel, evenly
from robustness.loaded_run import LoadedRun
from robustness.rejection.config import ModelConfig, RejectionConfig

# In place of a detector's name, where the model itself is meant.
MODEL = "the model"


@dataclass(frozen=True)
class CalibratedModel:
    """What every trial has to know of the model that it attacks.

    Attributes:
        fitted: the model and its detectors.
        points: of each detector, the thresholds of the rates asked for.
        facts: about the clean images, to be kept beside the numbers; JSON-able.
    """

    fitted: FittedModel
    points: dict[str, list[RejectionThreshold]]
    facts: dict[str, Any]

    @property
    def model(self) -> AttackedModel:
        """In evaluation mode."""
        return self.fitted.model

    @property
    def detectors(self) -> dict[str, Detector]:
        """Fitted, the model's own first."""
        return self.fitted.detectors

    @property
    def own_detector(self) -> str:
        """The name of the model's own detector."""
        return next(iter(self.detectors))

    def knowledge(self, source: AttackedModel | None) -> Knowledge:
        """What attacks may be built from.

        Args:
            source: the other model that an attack knows, if any.
        """
        return Knowledge(
            guides=self.fitted.fitted_on,
            detector=self.detectors[self.own_detector],
            thresholds={
                point.false_rejection_rate: point.threshold for point in self.points[self.own_detector]
            },
            head=self.model.head,
            source=source,
        )

    def scores(self, features: Features, pixels: Tensor) -> dict[str, Tensor]:
        """What every detector says of images, (N,) each.

        Args:
            features: of the images.
            pixels: (N, C, H, W) in [0, 1], the images; only detectors that compare views look at them.
        """
        if views := self.fitted.views:
            features = extract_features(self.model, pixels, features.labels, views=views)
        return {name: detector.score(features) for name, detector in self.detectors.items()}

    def unsteady(self, pixels: Tensor, labels: Tensor) -> list[str]:
        """What answers differently when it is asked twice about the same images: `MODEL`, or detectors.

        Args:
            pixels: (N, C, H, W) in [0, 1].
            labels: (N,) int64.
        """
        first, second = (extract_features(self.model, pixels, labels) for _ in range(2))
        if answers_differ(first.embeddings, second.embeddings) or answers_differ(first.logits, second.logits):
            return [MODEL]  # and with it every detector
        once, again = (self.scores(first, pixels) for _ in range(2))
        return [name for name in once if answers_differ(once[name], again[name])]


def fit_model(config: RejectionConfig, model: ModelConfig, run: LoadedRun) -> FittedModel:
    """Fit the model's own detector, and those of the experiment for which it has what they need.

    Raises:
        InputError: the model's own detector needs what the model does not have.
    """
    detectors: dict[str, Detector] = {model.detector: build_detector(model.detector, run.model)}
    for name in config.detectors:
        if fits(name, run.model):  # a softmax models no likelihood; the table has a gap there
            detectors.setdefault(name, build_detector(name, run.model))
    some = evenly(run.trained_on, config.fit, seed=config.seed)
    return FittedModel.of(run.model, some, detectors=detectors)


def fits(detector: str, model: AttackedModel) -> bool:
    """Whether a model has what the detector of that name needs."""
    try:
        build_detector(detector, model)
    except InputError:
        return False
    return True
