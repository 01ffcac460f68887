"""Schedules: their values where they are known, and batches that any number of processes shares."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import pytest
from pydantic import TypeAdapter

from data_prep.errors import InputError
from faceverif.config.adversarial import AdversarialConfig
from faceverif.config.optimisation import ScheduleConfig
from faceverif.training.order import RemainingBatches, steps_per_epoch
from faceverif.training.schedule import (
    attack_share,
    learning_rate_factor,
    margin_progress,
    warnings_beyond_the_end,
)


def factor(epoch: float, **config: Any) -> float:
    return learning_rate_factor(TypeAdapter(ScheduleConfig).validate_python(config), epoch=epoch, epochs=20)


def test_step_of_the_lgm_paper() -> None:
    """A tenth at epochs 10, 14 and 16; the last step of epoch 10 still has the old rate."""
    lgm = {"name": "step", "at_epochs": (10.0, 14.0, 16.0)}
    expected = {1: 1, 10: 1, 10.01: 0.1, 14: 0.1, 14.01: 0.01, 16: 0.01, 20: 0.001}
    for epoch, rate in expected.items():
        assert factor(epoch, **lgm) == pytest.approx(rate)


def test_cosine_and_polynomial_end_at_zero() -> None:
    assert [factor(epoch, name="cosine") for epoch in (0, 10, 20)] == pytest.approx([1, 0.5, 0])
    assert [factor(epoch, name="polynomial") for epoch in (0, 10, 20)] == pytest.approx([1, 0.25, 0])


def test_warmup_grows_linearly_and_then_leaves_the_curve_alone() -> None:
    warm = {"name": "step", "at_epochs": (), "warmup_epochs": 2.0}
    assert [factor(epoch, **warm) for epoch in (0, 0.5, 1, 2, 3)] == pytest.approx([0, 0.25, 0.5, 1, 1])
    assert factor(5, name="cosine", warmup_epochs=2.0) == factor(5, name="cosine")


def test_margin_grows_to_all_of_it() -> None:
    config = TypeAdapter(ScheduleConfig).validate_python({"name": "cosine", "margin_warmup_epochs": 4.0})
    assert [margin_progress(config, epoch=epoch) for epoch in (0, 1, 4, 9)] == [0, 0.25, 1, 1]
    config = TypeAdapter(ScheduleConfig).validate_python({"name": "cosine"})
    assert margin_progress(config, epoch=0) == 1


def late(epochs: int, **config: Any) -> list[str]:
    schedule: ScheduleConfig = TypeAdapter(ScheduleConfig).validate_python(config)
    return warnings_beyond_the_end(schedule, None, epochs=epochs)


def test_what_a_shortened_training_never_comes_to_is_warned_of() -> None:
    step = {"name": "step", "at_epochs": (20.7, 29.0)}
    (never,) = late(10, **step)
    assert "schedule.at_epochs has 20.7, 29, but the training ends after 10" in never
    assert "has 29, but" in late(29, **step)[0]
    rate, margin = late(2, name="cosine", warmup_epochs=4.0, margin_warmup_epochs=6.0)
    assert "the learning rate never reaches its full value" in rate
    assert "the margin never exceeds 33 % of its value" in margin


def test_an_attack_that_never_reaches_its_epsilon_is_warned_of() -> None:
    schedule: ScheduleConfig = TypeAdapter(ScheduleConfig).validate_python({"name": "cosine"})
    attack = AdversarialConfig(attack="pgd", epsilon=0.3, warmup_epochs=5.0)
    [warning] = warnings_beyond_the_end(schedule, attack, epochs=2)
    assert "training.adversarial.warmup_epochs is 5, but the training ends after 2" in warning
    assert "epsilon never exceeds 40 % of its value" in warning
    assert warnings_beyond_the_end(schedule, attack, epochs=5) == []
    assert [attack_share(attack, epoch=epoch) for epoch in (1, 5, 9)] == [0.2, 1.0, 1.0]


def test_a_schedule_that_ends_with_the_training_is_not_warned_of() -> None:
    assert late(33, name="step", at_epochs=(20.7, 29.0), warmup_epochs=1.0) == []
    assert late(2, name="cosine", warmup_epochs=2.0, margin_warmup_epochs=2.0) == []


def batches(*, first: int = 0, share: tuple[int, int] = (0, 1)) -> list[list[int]]:
    return list(RemainingBatches(23, batch_size=6, steps=(first, 9), seed=1, share=share))


def joined(lists: Iterable[list[int]]) -> list[int]:
    return [*chain.from_iterable(lists)]


def test_an_epoch_meets_a_photo_at_most_once_and_epochs_differ() -> None:
    assert steps_per_epoch(23, 6) == 3
    epochs = [joined(batches()[start : start + 3]) for start in (0, 3, 6)]
    for epoch in epochs:
        assert len(set(epoch)) == 18
    assert epochs[0] != epochs[1] != epochs[2]
    assert len(set().union(*epochs)) == 23  # those that sit out change


@pytest.mark.parametrize("first", [0, 1, 3, 5, 9])
def test_remaining_batches_are_the_tail_of_all(first: int) -> None:
    assert batches(first=first) == batches()[first:]


@pytest.mark.parametrize("processes", [2, 3])
def test_shares_make_up_the_batch(processes: int) -> None:
    shares = [batches(share=(which, processes)) for which in range(processes)]
    assert [joined(parts) for parts in zip(*shares, strict=True)] == batches()


def test_too_few_photos_for_a_batch() -> None:
    with pytest.raises(InputError, match="at most the number of photos, 5"):
        steps_per_epoch(5, 6)
