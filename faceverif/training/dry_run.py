"""Before hours are spent: everything is checked, a few real steps are measured, nothing is written."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.errors import InputError
from data_prep.progress import duration
from faceverif.config.run import RunConfig
from faceverif.provenance import peak_memory_mb
from faceverif.sharding.collectives import largest
from faceverif.training.checks import VerificationCheck
from faceverif.training.data import Batch, TrainingPhotos
from faceverif.training.head_memory import head_memory
from faceverif.training.loop import TrainingRun, prepare
from faceverif.training.on_screen import headline

_SAMPLED_CROPS = 256
_SAMPLED_PHOTOS = 64  # embedded to measure the pace of verification
_WARM_UP_STEPS = 2
_MEASURED_STEPS = 20
_MEASURED_S = 30.0
_PLAIN_STEPS = 5  # without the attack, for its cost


@dataclass(frozen=True)
class Pace:
    """What a few warm steps took.

    Attributes:
        steps: how many were measured.
        step_s: of one, reading included.
        loss: of the last.
        peak_mb: memory of this process, or of the GPU; null where the system does not tell.
        plain_step_s: of a step without the attack of an adversarial training; null where there is none.
    """

    steps: int
    step_s: float
    loss: float
    peak_mb: int | None
    plain_step_s: float | None = None


@dataclass(frozen=True)
class Rehearsal:
    """What a run would need.

    Attributes:
        lines: name and text of each line for the user, in order.
    """

    lines: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """A table for the terminal."""
        width = max(len(name) for name, _ in self.lines)
        return "\n".join(f"{name:{width}}  {text}" for name, text in self.lines)


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
    steps_left = training.last_step - training.step
    if not steps_left:
        raise InputError(
            "--run",
            "must have steps left to train",
            got=f"{run}, which has ended",
            fix="Raise training.epochs, or name another folder.",
        )
    epochs = range(training.step // training.steps_per_epoch + 1, config.training.epochs + 1)
    begins, rows = headline(training), training.photos.rows
    sampled = rows[np.linspace(0, len(rows) - 1, min(_SAMPLED_CROPS, len(rows))).astype(int)]
    training.photos.dataset.crops.read(sampled)
    features = _features_lines(training)
    pace = _measure(training)
    checks = [_Verification.measured(training, check, epochs=epochs) for check in training.checks]
    return Rehearsal(
        (
            ("run", begins),
            *([("", training.log.opposite.warning)] if training.log.opposite.warning else []),
            ("data", _data_text(training.photos, sampled=len(sampled))),
            *((check.name, check.text()) for check in checks),
            ("pace", _pace_text(training, pace)),
            ("memory", _memory_text(training, pace)),
            ("head", head_memory(training.learner)),
            *features,
            ("an epoch", _epoch_text(training, pace)),
            ("in all", _total_text(steps_left, pace, checks)),
            ("disk", _disk_text(training)),
        )
    )


def _measure(training: TrainingRun) -> Pace:
    """Real steps, attacked where the training is adversarial, and then a few without the attack."""
    begun = training.step
    seconds, loss = _timed(training, _WARM_UP_STEPS + _MEASURED_STEPS)
    plain = None
    if training.config.training.adversarial is not None:
        training.step = begun  # a short training has no batches left
        training.learner.attacking = False
        [*_, plain] = _mean(_timed(training, _WARM_UP_STEPS + _PLAIN_STEPS)[0])
    steps, mean = _mean(seconds)
    return Pace(steps, mean, loss, _peak_mb(training.fabric.device), plain)


def _timed(training: TrainingRun, steps: int) -> tuple[list[float], float]:
    """Seconds of each step on a real batch, from reading to update, and the last loss."""
    seconds: list[float] = []
    loss, begun = float("nan"), time.monotonic()
    start = begun
    for batch in islice(training.batches(), steps):
        if training.frozen is not None:  # reading is no part of a step: it computes what is not stored yet
            start = time.monotonic()
        loss = _step(training, batch)
        seconds.append(time.monotonic() - start)
        start = time.monotonic()
        late = start - begun > _MEASURED_S and len(seconds) > _WARM_UP_STEPS
        if largest(torch.tensor(float(late), device=training.fabric.device)):  # all end after the same step
            break
    return seconds, loss


def _mean(seconds: list[float]) -> tuple[int, float]:
    """How many steps count, and their mean; the first, which fill caches, do not."""
    warm = seconds[_WARM_UP_STEPS:] or seconds
    return len(warm), sum(warm) / len(warm)


def _step(training: TrainingRun, batch: Batch) -> float:
    figures = training.learner.compute_gradients(batch, step=training.step)
    figures.refuse_not_finite()
    training.learner.update(step=training.step)
    training.step += 1
    return figures.loss


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
            f"{self.times} times, {duration(self.seconds)} each"
        )


# --- in words


def _data_text(photos: TrainingPhotos, *, sampled: int) -> str:
    dataset, header = photos.dataset, photos.dataset.header
    return (
        f"{dataset.root}, {dataset.sha256[:12]}: {header.template}, {header.policy}, {header.colour_order}; "
        f"{len(dataset) - len(photos):,} of {len(dataset):,} photos are left out; "
        f"none is missing, {sampled:,} were decoded"
    )


def _pace_text(training: TrainingRun, pace: Pace) -> str:
    batch_size = training.config.training.batch_size
    return (
        f"{batch_size / pace.step_s:,.1f} images/s, {pace.step_s:.3f} s a step of {batch_size} "
        f"(mean of {pace.steps} warm steps; loss {pace.loss:.3f})"
    )


def _memory_text(training: TrainingRun, pace: Pace) -> str:
    if pace.peak_mb is None:
        return "unknown: this system does not tell"
    where = "of the GPU" if training.fabric.device.type == "cuda" else "of this process"
    workers = training.config.training.workers
    classes = len(training.photos.identities)
    return (
        f"{pace.peak_mb:,} MB at the peak {where}, with {classes:,} classes; "
        f"{workers} loader processes besides"
    )


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


def _epoch_text(training: TrainingRun, pace: Pace) -> str:
    text = duration(training.steps_per_epoch * pace.step_s)
    attack = training.config.training.adversarial
    if attack is None or pace.plain_step_s is None:
        return text
    plain = duration(training.steps_per_epoch * pace.plain_step_s)
    return (
        f"{text}; {plain} without {attack.attack} of {attack.inner_steps} step(s): "
        f"a step costs {pace.step_s / pace.plain_step_s:.1f} plain ones"
    )


def _total_text(steps: int, pace: Pace, checks: list[_Verification]) -> str:
    verifying = sum(check.times * check.seconds for check in checks)
    text = f"{duration(steps * pace.step_s + verifying)} for {steps:,} steps"
    return f"{text}, {duration(verifying)} of it for verification" if checks else text


def _disk_text(training: TrainingRun) -> str:
    checkpoint_mb = _size_mb(training.learner.state())
    model_mb = _size_mb(training.learner.result.state_dict())
    place = next(folder for folder in (training.run, *training.run.absolute().parents) if folder.exists())
    free_gb = shutil.disk_usage(place).free / 1e9
    return (
        f"{2 * checkpoint_mb + model_mb:,.0f} MB: a checkpoint of {checkpoint_mb:,.0f} MB, twice while it is "
        f"replaced, and the model; {free_gb:,.1f} GB are free in {place}"
    )


def _size_mb(state: Any) -> float:
    """Of all tensors in nested mappings and lists."""
    if isinstance(state, Tensor):
        return state.nbytes / 1e6
    values = state.values() if isinstance(state, Mapping) else state if isinstance(state, list) else ()
    return sum(map(_size_mb, values))


def _peak_mb(device: torch.device) -> int | None:
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    return peak_memory_mb()
