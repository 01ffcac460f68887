"""What a training of an image classifier would take; see `faceverif.training.dry_run` for faces."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from data_prep.counted import counted
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.evaluation import predict
from faceverif.classification.training import ATTACKED_IMAGES, ClassifierRun, prepare
from faceverif.images.labelled import Images, spread_evenly
from faceverif.training.rehearsal import (
    Pace,
    Rehearsal,
    disk_text,
    epoch_text,
    measure,
    memory_text,
    pace_text,
    span,
    steps_left,
)

_EVALUATED = 500
_ATTACKED = 50


def rehearse(config: ClassificationConfig, run: Path, *, resume: bool = False) -> Rehearsal:
    """Check a run and measure what it would take on this machine; no file is written.

    Args:
        config: the run.
        run: the folder that it would write to.
        resume: refuse a folder without a checkpoint.

    Raises:
        InputError: as for `train_classifier`; or no step is left, or the loss is not finite.
    """
    training = prepare(config, run, resume=resume)
    left, begins = steps_left(training), training.headline()
    epochs = range(training.step // training.steps_per_epoch + 1, config.training.epochs + 1)
    pace = measure(training)
    evaluation_s, attack_s = _evaluation_s(training), _attack_s(training)
    times = 1 + sum(map(training.evaluates_after, epochs))  # once more at the end, for all figures
    measuring_s = times * evaluation_s + len(epochs) * attack_s
    return Rehearsal(
        (
            ("run", begins),
            *(("", warning) for warning in training.warnings()),
            ("data", _data_text(training)),
            ("pace", pace_text(training, pace)),
            ("memory", memory_text(training, pace, beside="data included")),
            ("an epoch", epoch_text(training, pace)),
            ("evaluation", _evaluation_text(training, times, evaluation_s, attack_s)),
            ("in all", _total_text(left, pace, measuring_s)),
            ("disk", disk_text(training, training.learner.network.state_dict())),
        )
    )


def _evaluation_s(training: ClassifierRun) -> float:
    """Of all evaluation images, from some of them."""
    model = training.learner.network

    def see(images: Images) -> None:
        predict(model.network, model.objective.head, images)

    return _scaled_s(see, training.evaluation, sampled=_EVALUATED, all_of_them=len(training.evaluation))


def _attack_s(training: ClassifierRun) -> float:
    """Of the attacks that end an epoch of adversarial training, from some of their images; 0 without one."""
    if training.config.training.adversarial is None:
        return 0.0
    device = training.fabric.device

    def see(images: Images) -> None:
        pictures = images.read(torch.arange(len(images))).to(device)
        training.learner.robustness(pictures, images.labels.to(device), step=training.step)

    attacked = min(ATTACKED_IMAGES, len(training.evaluation))
    return _scaled_s(see, training.evaluation, sampled=_ATTACKED, all_of_them=attacked)


def _scaled_s(see: Callable[[Images], None], images: Images, *, sampled: int, all_of_them: int) -> float:
    some = spread_evenly(images, most=sampled)
    begun = time.monotonic()
    see(some)
    return (time.monotonic() - begun) / len(some) * all_of_them


# --- in words


def _data_text(training: ClassifierRun) -> str:
    data = training.folder.provenance["data"]
    return (
        f"{data['path'] or data['name']}, {data['sha256'][:12]}: {data['images']:,} images to train on, "
        f"{data['evaluated_images']:,} to evaluate"
    )


def _evaluation_text(training: ClassifierRun, times: int, evaluation_s: float, attack_s: float) -> str:
    text = f"{len(training.evaluation):,} images, {counted(times, 'time')}, {span(evaluation_s)} each"
    if not attack_s:
        return text
    attacked = min(ATTACKED_IMAGES, len(training.evaluation))
    return f"{text}; {attacked:,} of them attacked after every epoch, {span(attack_s)} each time"


def _total_text(steps: int, pace: Pace, measuring_s: float) -> str:
    return (
        f"{span(steps * pace.step_s + measuring_s)} for {steps:,} steps, "
        f"{span(measuring_s)} of it for evaluation"
    )
