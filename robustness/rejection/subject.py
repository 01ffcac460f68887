"""A trained model ready to be attacked: detectors fitted and calibrated, and the images that are attacked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.images.base import LabelledImages
from faceverif.images.labelled import as_pixels
from robustness.attacked_model import AttackedModel
from robustness.attacks.knowledge import Knowledge
from robustness.detectors import Detector, build_detector
from robustness.detectors.calibration import OperatingPoint
from robustness.features import Features
from robustness.fitted_model import PORTION, FittedModel, even_order, evenly, features_of
from robustness.loaded_run import FinishedRun
from robustness.rejection.config import ModelConfig, RejectionConfig


@dataclass(frozen=True)
class CalibratedModel:
    """What every trial has to know of the model that it attacks.

    Attributes:
        fitted: the model and its detectors.
        points: of each detector, the thresholds of the rates asked for.
        facts: about the clean images, to be kept beside the numbers; JSON-able.
    """

    fitted: FittedModel
    points: dict[str, list[OperatingPoint]]
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
    def own(self) -> str:
        """The name of the model's own detector."""
        return next(iter(self.detectors))

    def knowledge(self, source: AttackedModel | None) -> Knowledge:
        """What attacks may be built from.

        Args:
            source: the other model that an attack knows, if any.
        """
        return Knowledge(
            guides=self.fitted.fitted_on,
            detector=self.detectors[self.own],
            thresholds={point.false_rejection_rate: point.threshold for point in self.points[self.own]},
            head=self.model.head,
            source=source,
        )

    def scores(self, features: Features) -> dict[str, Tensor]:
        """What every detector says of features, (N,) each."""
        return {name: detector.score(features) for name, detector in self.detectors.items()}


@dataclass(frozen=True)
class Subject(CalibratedModel):
    """A training of a model, as attacks on its classes see it.

    Attributes:
        evaluation: images that neither training nor detectors nor thresholds have seen, classes in turns.
    """

    evaluation: LabelledImages

    def portions(self, images: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The first so many evaluated images in [0, 1] and their labels, portion by portion."""
        for which in torch.arange(min(images, len(self.evaluation))).split(PORTION):
            yield as_pixels(self.evaluation.read(which)), self.evaluation.labels[which]


def fit_model(config: RejectionConfig, model: ModelConfig, run: FinishedRun) -> FittedModel:
    """Fit the model's own detector, and of the others those that it has everything for.

    Raises:
        InputError: the model's own detector needs what the model does not have.
    """
    detectors = {model.detector: build_detector(model.detector, run.model)}
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


def load_subject(config: RejectionConfig, fitted: FittedModel, run: FinishedRun) -> Subject:
    """Divide a run's unseen images, and calibrate its detectors.

    Args:
        config: the experiment.
        fitted: the run's model.
        run: a finished one.

    Raises:
        InputError: there are too few unseen images.
    """
    calibration, evaluation = _divided(run.unseen, config)
    points = fitted.calibrated(features_of(fitted.model, calibration), config.rates)
    facts = {"data_sha256": evaluation.sha256(), "calibration_sha256": calibration.sha256()}
    return Subject(fitted, points, facts, evaluation)


def _divided(unseen: LabelledImages, config: RejectionConfig) -> tuple[LabelledImages, LabelledImages]:
    """What sets the thresholds, and what is attacked."""
    if not len(unseen):
        raise InputError(
            "models.runs",
            "must have images of their classes that were not trained on",
            got="none",
            fix="Train the face run with data.held_out_per_identity: 1.",
        )
    if config.calibration >= len(unseen):
        raise InputError(
            "calibration",
            f"must be less than the {len(unseen):,} images that were not trained on: the others are attacked",
            got=f"{config.calibration:,}",
            fix="Lower calibration.",
        )
    order = even_order(unseen, seed=config.seed)
    end = len(order) if config.evaluation is None else config.calibration + config.evaluation
    return unseen.take(order[: config.calibration]), unseen.take(order[config.calibration : end])
