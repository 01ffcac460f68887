"""A trained model ready to be attacked: its clean images in three parts, detectors fitted and calibrated."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.classification.data import in_turns, load_image_sets
from faceverif.classification.images import Images, as_pixels
from faceverif.classification.trained import MODEL_NAME, load_classifier
from robustness.attacked_model import AttackedModel
from robustness.calibration import OperatingPoint, calibrate
from robustness.detectors import Detector, build_detector
from robustness.features import Features, extract_features
from robustness.rejection_config import ModelConfig, RejectionConfig

# Images that are in memory as float32 at once.
_PORTION = 1000


@dataclass(frozen=True)
class Subject:
    """A training of a model, as the experiment attacks it.

    Attributes:
        name: of the model.
        training: its number, from 0.
        run: the folder that it comes from.
        model: in evaluation mode.
        model_sha256: of the model's file.
        data_sha256: of the evaluated images and their labels.
        class_names: in the order of the logits.
        fitted_on: clean training images, which the detectors know; feature matching takes its guides there.
        detectors: fitted, the model's own first.
        points: of each detector, the thresholds of the rates asked for.
        evaluation: images that neither training nor detectors nor thresholds have seen, classes in turns.
    """

    name: str
    training: int
    run: Path
    model: AttackedModel
    model_sha256: str
    data_sha256: str
    class_names: tuple[str, ...]
    fitted_on: Features
    detectors: dict[str, Detector]
    points: dict[str, list[OperatingPoint]]
    evaluation: Images

    @property
    def folder(self) -> str:
        """NAME/training-K, below the experiment's folder."""
        return f"{self.name}/training-{self.training}"

    @property
    def detector(self) -> str:
        """The name of the model's own detector."""
        return next(iter(self.detectors))

    def scores(self, features: Features) -> dict[str, Tensor]:
        """What every detector says of features, (N,) each."""
        return {name: detector.score(features) for name, detector in self.detectors.items()}

    def portions(self, images: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The first so many evaluated images in [0, 1] and their labels, portion by portion."""
        for which in torch.arange(min(images, len(self.evaluation))).split(_PORTION):
            yield as_pixels(self.evaluation.read(which)), self.evaluation.labels[which]


def load_subject(config: RejectionConfig, model: ModelConfig, training: int, run: Path) -> Subject:
    """Load a finished run, divide its images, fit and calibrate the detectors.

    Args:
        config: the experiment.
        model: which of its models.
        training: number of the run among the model's.
        run: a folder by `faceverif classify`.

    Raises:
        InputError: no finished run, its images are missing or too few, or the model's own detector needs what
            the model does not have.
    """
    trained = load_classifier(run)
    attacked = AttackedModel(trained.network, trained.objective)
    data = trained.config.data
    if config.data_path is not None:
        data = data.model_copy(update={"path": config.data_path})
    train, unseen = load_image_sets(data, trained.config.seed)
    calibration, evaluation = _divided(unseen, config)
    fitted_on = _features_of(attacked, _some(train, config.fit, seed=config.seed))
    held_out = _features_of(attacked, calibration)
    detectors = {
        name: detector.fit(fitted_on) for name, detector in _detectors(config, model, attacked).items()
    }
    return Subject(
        name=model.name,
        training=training,
        run=run,
        model=attacked,
        model_sha256=hashlib.sha256((run / MODEL_NAME).read_bytes()).hexdigest(),
        data_sha256=evaluation.sha256(),
        class_names=trained.class_names,
        fitted_on=fitted_on,
        detectors=detectors,
        points={
            name: [calibrate(detector.score(held_out), rate) for rate in config.rates]
            for name, detector in detectors.items()
        },
        evaluation=evaluation,
    )


def _divided(unseen: Images, config: RejectionConfig) -> tuple[Images, Images]:
    """What sets the thresholds, and what is attacked."""
    if config.calibration >= len(unseen):
        raise InputError(
            "calibration",
            f"must be less than the {len(unseen):,} images that were not trained on: the others are attacked",
            got=f"{config.calibration:,}",
            fix="Lower calibration.",
        )
    order = _even_order(unseen, seed=config.seed)
    end = len(order) if config.evaluation is None else config.calibration + config.evaluation
    return unseen.take(order[: config.calibration]), unseen.take(order[config.calibration : end])


def _some(images: Images, count: int, *, seed: int) -> Images:
    return images.take(_even_order(images, seed=seed)[:count])


def _even_order(images: Images, *, seed: int) -> Tensor:
    """A random order in which the classes take turns, so that any beginning of it holds them evenly."""
    shuffled = np.random.default_rng(seed).permutation(len(images))
    return in_turns(images.labels, torch.from_numpy(shuffled))


def _features_of(model: AttackedModel, images: Images) -> Features:
    parts = [
        extract_features(model, images.read(which), images.labels[which])
        for which in torch.arange(len(images)).split(_PORTION)
    ]
    return Features(*map(torch.cat, zip(*parts, strict=True)))


def _detectors(config: RejectionConfig, model: ModelConfig, attacked: AttackedModel) -> dict[str, Detector]:
    """The model's own detector, and of the others those that it has everything for."""
    found = {model.detector: build_detector(model.detector, attacked)}
    for name in config.detectors:
        try:
            found.setdefault(name, build_detector(name, attacked))
        except InputError:
            continue  # a softmax models no likelihood; the table has a gap there
    return found
