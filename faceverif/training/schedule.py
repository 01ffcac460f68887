"""Learning rate and margin as functions of the place in training: nothing to store, nothing to resume."""

from __future__ import annotations

import math

from faceverif.config.adversarial import AdversarialConfig
from faceverif.config.optimisation import CosineConfig, PolynomialConfig, ScheduleConfig, StepConfig
from faceverif.report.numbers import percent


def learning_rate_factor(config: ScheduleConfig, *, epoch: float, epochs: int) -> float:
    """What the learning rate is multiplied with.

    It grows linearly over the warm-up, as a factor on the curve, so that a warm-up delays nothing.

    Args:
        config: the curve and its warm-up.
        epoch: passes made so far, fractions included, counted to the end of the step to be made.
        epochs: length of the training.
    """
    warmup = min(1.0, epoch / config.warmup_epochs) if config.warmup_epochs else 1.0
    progress = min(1.0, epoch / epochs)
    if isinstance(config, CosineConfig):
        curve = 0.5 * (1.0 + math.cos(math.pi * progress))
    elif isinstance(config, PolynomialConfig):
        curve = (1.0 - progress) ** config.power
    else:
        curve = config.factor ** sum(epoch > boundary for boundary in config.at_epochs)
    return warmup * curve


def margin_progress(config: ScheduleConfig, *, epoch: float) -> float:
    """The share of the margin that is in force, from 0 to 1."""
    return min(1.0, epoch / config.margin_warmup_epochs) if config.margin_warmup_epochs else 1.0


def attack_share(config: AdversarialConfig, *, epoch: float) -> float:
    """The share of the attack's epsilon that is in force, from 0 to 1."""
    return min(1.0, epoch / config.warmup_epochs) if config.warmup_epochs else 1.0


def warnings_beyond_the_end(
    config: ScheduleConfig, attack: AdversarialConfig | None, *, epochs: int
) -> list[str]:
    """What of a schedule the training never comes to, as after `training.epochs` alone was lowered.

    Args:
        config: of rate and margin.
        attack: of adversarial training, whose epsilon has a warm-up too; None: it is plain.
        epochs: length of the training.
    """
    warnings = []
    after = f"but the training ends after {epochs}"
    if config.warmup_epochs > epochs:
        warnings.append(
            f"warning: schedule.warmup_epochs is {config.warmup_epochs:g}, {after}: the learning rate never "
            "reaches its full value. Lower it, or raise training.epochs."
        )
    if config.margin_warmup_epochs > epochs:
        share = margin_progress(config, epoch=epochs)
        warnings.append(
            f"warning: schedule.margin_warmup_epochs is {config.margin_warmup_epochs:g}, {after}: the margin "
            f"never exceeds {percent(share, 0)} % of its value. Lower it, or raise training.epochs."
        )
    if attack is not None and attack.warmup_epochs > epochs:
        share = attack_share(attack, epoch=epochs)
        warnings.append(
            f"warning: training.adversarial.warmup_epochs is {attack.warmup_epochs:g}, {after}: epsilon "
            f"never exceeds {percent(share, 0)} % of its value. Lower it, or raise training.epochs."
        )
    if isinstance(config, StepConfig) and (never := [each for each in config.at_epochs if each >= epochs]):
        warnings.append(
            f"warning: schedule.at_epochs has {', '.join(f'{each:g}' for each in never)}, {after}: the "
            "learning rate is not lowered there. Move these epochs, or raise training.epochs."
        )
    return warnings
