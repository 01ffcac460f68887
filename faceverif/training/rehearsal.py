"""What a few real steps tell of a whole training: its pace, memory and disk, and what its attack costs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from data_prep.counted import counted
from data_prep.errors import InputError
from data_prep.progress import duration
from data_prep.system_errors import room_at
from faceverif.config.adversarial import AdversarialConfig
from faceverif.provenance import peak_memory_mb
from faceverif.sharding.collectives import largest
from faceverif.training.epochs import EpochLoop

_WARM_UP_STEPS = 2
_MEASURED_STEPS = 20
_MEASURED_S = 30.0
_PLAIN_STEPS = 5  # without the attack, for its cost


@dataclass(frozen=True)
class Pace:
    """What a few warm steps took.

    Attributes:
        steps: how many were measured.
        step_s: of one.
        loss: of the last.
        peak_mb: memory of this process, or of the GPU; None where the system does not tell.
        plain_step_s: of a step without the attack of an adversarial training; None where there is none.
    """

    steps: int
    step_s: float
    loss: float
    peak_mb: int | None
    plain_step_s: float | None


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


def steps_left(training: EpochLoop[Any]) -> int:
    """How many steps a run has before it.

    Raises:
        InputError: the run has ended.
    """
    left = training.last_step - training.step
    if not left:
        raise InputError(
            "--run",
            "must have steps left to train",
            got=f"{training.run}, which has ended",
            fix="Raise training.epochs, or name another folder.",
        )
    return left


def measure(training: EpochLoop[Any], *, with_reading: bool = True) -> Pace:
    """Real steps, attacked where the training is adversarial, and then a few without the attack.

    Args:
        training: prepared; its weights change, its folder does not.
        with_reading: whether reading a batch is a part of a step.

    Raises:
        InputError: a loss is not finite.
    """
    begun = training.step
    seconds, loss = _timed(training, _WARM_UP_STEPS + _MEASURED_STEPS, with_reading=with_reading)
    plain = None
    if training.config.training.adversarial is not None:
        training.step = begun  # a short training has no batches left
        training.learner.attacking = False
        plain_s, _ = _timed(training, _WARM_UP_STEPS + _PLAIN_STEPS, with_reading=with_reading)
        _, plain = _mean(plain_s)
    steps, mean = _mean(seconds)
    return Pace(steps, mean, loss, _peak_mb(training.fabric.device), plain)


def _timed(training: EpochLoop[Any], steps: int, *, with_reading: bool) -> tuple[list[float], float]:
    """Seconds of each step on a real batch, and the last loss."""
    seconds: list[float] = []
    loss, begun = float("nan"), time.monotonic()
    start = begun
    for batch in islice(training.batches(), steps):
        if not with_reading:
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


def _step(training: EpochLoop[Any], batch: Any) -> float:
    figures = training.learner.compute_gradients(batch, step=training.step)
    figures.refuse_not_finite()
    training.learner.update(step=training.step)
    training.step += 1
    return figures.loss


# --- in words


def span(seconds: float) -> str:
    """A time as a reader of a forecast wants it: seconds below a minute."""
    return duration(seconds) if seconds >= 60 else f"{seconds:.2g} s"


def pace_text(training: EpochLoop[Any], pace: Pace) -> str:
    """Images and steps in a second, and how many were measured."""
    batch_size = training.config.training.batch_size
    return (
        f"{batch_size / pace.step_s:,.1f} images/s, {pace.step_s:.3f} s a step of {batch_size} "
        f"(mean of {pace.steps} warm steps; loss {pace.loss:.3f})"
    )


def memory_text(training: EpochLoop[Any], pace: Pace, *, beside: str) -> str:
    """The peak so far, and what it was taken with."""
    if pace.peak_mb is None:
        return "unknown: this system does not tell"
    where = "of the GPU" if training.fabric.device.type == "cuda" else "of this process"
    return f"{pace.peak_mb:,} MB at the peak {where}, {beside}"


def epoch_text(training: EpochLoop[Any], pace: Pace) -> str:
    """What the steps of an epoch take; of an adversarial training also what it adds to plain steps."""
    steps, attack = training.steps_per_epoch, training.config.training.adversarial
    text = f"{span(steps * pace.step_s)} for {steps:,} steps"
    if attack is None or pace.plain_step_s is None:
        return text
    dearer = pace.step_s / pace.plain_step_s
    return (
        f"{text} with {_named(attack)}, {span(steps * pace.plain_step_s)} without: "
        f"a step costs {dearer:.1f} plain ones, an epoch as much as {steps * dearer:,.0f} plain steps"
    )


def _named(attack: AdversarialConfig) -> str:
    if attack.attack == "ibp":
        return "interval bounds (ibp)"
    return f"{attack.attack} of {counted(attack.inner_steps, 'step')}"


def disk_text(training: EpochLoop[Any], model: Mapping[str, Any]) -> str:
    """What the run writes, and what is free where it lies.

    Args:
        training: the run.
        model: tensors of the finished model.
    """
    checkpoint_mb, model_mb = _size_mb(training.learner.state()), _size_mb(model)
    place, free = room_at(training.run)
    return (
        f"{2 * checkpoint_mb + model_mb:,.0f} MB: a checkpoint of {checkpoint_mb:,.0f} MB, twice while it is "
        f"replaced, and the model; {free / 1e9:,.1f} GB are free in {place}"
    )


def _size_mb(state: Any) -> float:
    """Of all tensors in nested mappings and lists."""
    if isinstance(state, Tensor):
        return state.nbytes / 1e6
    values: Iterable[Any] = (
        state.values() if isinstance(state, Mapping) else state if isinstance(state, list) else ()
    )
    return sum(map(_size_mb, values))


def _peak_mb(device: torch.device) -> int | None:
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    return peak_memory_mb()
