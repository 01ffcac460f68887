"""Projected gradient ascent on any value, for adversarial training and for attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

from faceverif.perturbation.threat_model import ThreatModel

_Notes = TypeVar("_Notes")

# Length of all steps together, in units of epsilon: through the ball and back, and more for turns.
_PATH = 5.0
# Length of the last step as a share of the first: long steps reach any place, short ones keep it.
_SHORTENING = 0.01


def ascend(
    value: Callable[[Tensor], Tensor],
    start: Tensor,
    clean: Tensor,
    *,
    threat: ThreatModel,
    lengths: Iterable[float],
) -> Tensor:
    """x <- project(x + length * direction of the gradient), one step for each length.

    Args:
        value: (batch, C, H, W) -> (batch,), to be raised; called on every version but the last.
        start: (batch, C, H, W), in the ball and in the box.
        clean: (batch, C, H, W).
        threat: ball, box and norm of a step.
        lengths: of the steps, in the norm.

    Returns:
        The last version.
    """
    changed = start
    for length in lengths:
        changed = threat.project(changed + length * threat.step(gradient_of(value, changed)), clean)
    return changed


def step_lengths(threat: ThreatModel, steps: int) -> list[float]:
    """Lengths of steps that become shorter; the ratio of neighbours is constant."""
    shares = [_SHORTENING ** (number / steps) for number in range(steps)]
    return [_PATH * threat.epsilon * share / sum(shares) for share in shares]


def gradient_of(value: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """Gradient of the summed values with respect to the pixels.

    Args:
        value: (batch, C, H, W) -> (batch,).
        pixels: (batch, C, H, W).
    """
    gradient, _ = gradient_and_notes(lambda asked: (value(asked), None), pixels)
    return gradient


def gradient_and_notes(
    value: Callable[[Tensor], tuple[Tensor, _Notes]], pixels: Tensor
) -> tuple[Tensor, _Notes]:
    """`gradient_of` for a value that returns something else too.

    Args:
        value: (batch, C, H, W) -> (batch,) and the notes.
        pixels: (batch, C, H, W).

    Returns:
        The gradient, and the notes as they are.
    """
    with torch.enable_grad():
        asked = pixels.detach().requires_grad_()
        values, notes = value(asked)
        (gradient,) = torch.autograd.grad(values.sum(), asked)
    return gradient, notes
