"""Before hours are spent: everything is checked, a few real steps are measured, nothing is written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.counted import counted
from data_prep.progress import duration
from faceverif.config.run import RunConfig
from faceverif.training.checks import VerificationCheck
from faceverif.training.data import TrainingPhotos
from faceverif.training.head_memory import head_memory
from faceverif.training.loop import TrainingRun, prepare
from faceverif.training.rehearsal import (
    Pace,
    Rehearsal,
    disk_text,
    epoch_text,
    measure,
    memory_text,
    pace_text,
    steps_left,
)
from faceverif.training.teachers.stored import StoredTeacher

_SAMPLED_CROPS = 256
_SAMPLED_PHOTOS = 64  # embedded to measure the pace of verification, of features or of a teacher


def rehearse(config: RunConfig, run: Path, *, resume: bool = False) -> Rehearsal:
    """Check a run and measure what it would take on this machine; no file is written.

    Args:
        config: the run.
        run: the folder that it would write to.
        resume: refuse a folder without a checkpoint.

    Raises:
        InputError: as for `train`; or a sampled crop cannot be decoded, or the loss is not finite.
    """
    training = prepare(config, run, resume=resume)
    left = steps_left(training)
    epochs = range(training.step // training.steps_per_epoch + 1, config.training.epochs + 1)
    begins, rows = training.headline(), training.photos.rows
    sampled = rows[np.linspace(0, len(rows) - 1, min(_SAMPLED_CROPS, len(rows))).astype(int)]
    training.photos.dataset.crops.read(sampled)
    stored = [*_features_lines(training), *_teacher_lines(training)]
    # What is not stored yet is computed by reading; it has a line of its own.
    pace = measure(training, with_reading=training.frozen is None)
    checks = [_Verification.measured(training, check, epochs=epochs) for check in training.checks]
    return Rehearsal(
        (
            ("run", begins),
            *(("", warning) for warning in training.warnings()),
            ("data", _data_text(training.photos, sampled=len(sampled))),
            *((check.name, check.text()) for check in checks),
            ("pace", pace_text(training, pace)),
            ("memory", memory_text(training, pace, beside=_beside(training))),
            ("head", head_memory(training.learner)),
            *stored,
            ("an epoch", epoch_text(training, pace)),
            ("in all", _total_text(left, pace, checks)),
            ("disk", disk_text(training, training.learner.result.state_dict())),
        )
    )


@dataclass(frozen=True)
class _Verification:
    """A verification on the way: how often it runs, and how long once takes."""

    name: str
    pairs: int
    photos: int
    times: int
    seconds: float

    @classmethod
    def measured(cls, training: TrainingRun, check: VerificationCheck, *, epochs: range) -> _Verification:
        rows = check.photos.with_crop
        sampled, embedded = rows[:_SAMPLED_PHOTOS], training.embedded(check)
        if training.frozen is not None:
            training.frozen.features(check.dataset).views(sampled)  # its time stands in a line of its own
        begun = time.monotonic()
        embedded.of(sampled)
        seconds = (time.monotonic() - begun) / len(sampled) * len(rows)
        times = sum(check.is_due(epoch, last=epoch == epochs[-1]) for epoch in epochs)
        return cls(check.config.name, len(check.protocol), len(rows), times, seconds)

    def text(self) -> str:
        return (
            f"{self.pairs:,} pairs of {self.photos:,} photos, all there; "
            f"{counted(self.times, 'time')}, {duration(self.seconds)} each"
        )


# --- in words


def _data_text(photos: TrainingPhotos, *, sampled: int) -> str:
    dataset, header = photos.dataset, photos.dataset.header
    return (
        f"{dataset.root}, {dataset.sha256[:12]}: {header.template}, {header.policy}, {header.colour_order}; "
        f"{len(dataset) - len(photos):,} of {len(dataset):,} photos are left out{_below(photos)}; "
        f"none is missing, {sampled:,} were decoded"
    )


def _below(photos: TrainingPhotos) -> str:
    return f", {photos.below_quality:,} of them for data.min_quality" if photos.least_quality else ""


def _beside(training: TrainingRun) -> str:
    classes, workers = len(training.photos.identities), training.config.training.workers
    return f"with {classes:,} classes; {counted(workers, 'loader process')} besides"


def _features_lines(training: TrainingRun) -> list[tuple[str, str]]:
    """What is computed before the first step, where features are stored."""
    if training.frozen is None:
        return []
    wanted = training.wanted_photos()
    missing = [training.frozen.features(dataset).missing(rows) for dataset, rows in wanted]
    count = sum(map(len, missing))
    if not count:
        return [("features", "all are stored")]
    dataset, rows = next((of[0], rows) for of, rows in zip(wanted, missing, strict=True) if len(rows))
    features, sampled = training.frozen.features(dataset), rows[:_SAMPLED_PHOTOS]
    begun = time.monotonic()
    features.views(sampled)
    seconds = (time.monotonic() - begun) / len(sampled) * count
    size = count * features.bytes_per_photo / 1e6
    folder = training.frozen.folder
    return [
        ("features", f"{count:,} photos to compute first: {duration(seconds)}, {size:,.0f} MB in {folder}")
    ]


def _teacher_lines(training: TrainingRun) -> list[tuple[str, str]]:
    """What is computed before the first step, where a teacher's embeddings are stored."""
    teacher = training.learner.teacher
    if not isinstance(teacher, StoredTeacher):
        return []
    photos, seconds, megabytes = teacher.rehearse(sampled=_SAMPLED_PHOTOS)
    folder, begins = teacher.path.parent, f"{photos:,} photos to embed first: {duration(seconds)}"
    text = f"{begins}, {megabytes:,.0f} MB in" if photos else f"all is stored, {megabytes:,.0f} MB in"
    return [("teacher", f"{text} {folder}, and as much memory besides")]


def _total_text(steps: int, pace: Pace, checks: list[_Verification]) -> str:
    verifying = sum(check.times * check.seconds for check in checks)
    text = f"{duration(steps * pace.step_s + verifying)} for {steps:,} steps"
    return f"{text}, {duration(verifying)} of it for verification" if checks else text
