"""The closed set: a model whose classes are attacked, and unseen images of these classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.images.base import LabelledImages
from faceverif.images.labelled import as_pixels
from robustness.fitted_model import PORTION, FittedModel
from robustness.loaded_run import LoadedRun
from robustness.rejection.calibrated_model import CalibratedModel
from robustness.rejection.config import RejectionConfig


@dataclass(frozen=True)
class ClosedSet(CalibratedModel):
    """A training of a model, as attacks on its classes see it.

    Attributes:
        evaluation: images that neither training nor detectors nor thresholds have seen, in random order.
    """

    evaluation: LabelledImages

    def portions(self, images: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """The first of the evaluated images, portion by portion.

        Args:
            images: how many at most.

        Yields:
            position of the portion's first image; images in [0, 1]; labels.
        """
        for which in torch.arange(min(images, len(self.evaluation))).split(PORTION):
            yield int(which[0]), as_pixels(self.evaluation.read(which)), self.evaluation.labels[which]


def load_closed_set(config: RejectionConfig, fitted: FittedModel, run: LoadedRun) -> ClosedSet:
    """Divide a run's unseen images, and calibrate its detectors.

    Args:
        config: the experiment.
        fitted: the run's model.
        run: a finished one.

    Raises:
        InputError: there are too few unseen images.
    """
    calibration, evaluation = divided(run.unseen, config)
    points = fitted.calibrated(fitted.features(calibration), config.rates)
    facts = {"data_sha256": evaluation.sha256(), "calibration_sha256": calibration.sha256()}
    return ClosedSet(fitted, points, facts, evaluation)


def divided(unseen: LabelledImages, config: RejectionConfig) -> tuple[LabelledImages, LabelledImages]:
    """What sets the thresholds, and what is attacked.

    Args:
        unseen: images of a model's classes that it was not trained on.
        config: the experiment.

    Raises:
        InputError: there are no classes, or too few images.
    """
    if not unseen.class_names:
        raise InputError(
            "attacks",
            "need models with a head: its classes are attacked",
            got="an imported model without a head among the models",
            fix="Fit one first, faceverif fit-head, or attack pairs alone: attacks: [].",
        )
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
    order = torch.from_numpy(np.random.default_rng(config.seed).permutation(len(unseen)))
    end = len(order) if config.evaluation is None else config.calibration + config.evaluation
    return unseen.take(order[: config.calibration]), unseen.take(order[config.calibration : end])
