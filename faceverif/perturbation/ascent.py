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
# Length of the step that would follow the last, as a share of the first: long steps reach any place, short
# ones keep it.
_SHORTENING = 0.01


def ascend(
    value: Callable[[Tensor], Tensor],
    start: Tensor,
    clean: Tensor,
    *,
    threat: ThreatModel,
    lengths: Iterable[float],
    samples: int = 1,
) -> Tensor:
    """x <- project(x + length * direction of the gradient), one step for each length.

    Args:
        value: (batch, C, H, W) -> (batch,), to be raised; called on every version but the last.
        start: (batch, C, H, W), in the ball and in the box.
        clean: (batch, C, H, W).
        threat: ball, box and norm of a step.
        lengths: of the steps, in the norm.
        samples: gradients that are averaged at each step; see `gradient_and_notes`.

    Returns:
        The last version.
    """
    changed = start
    for length in lengths:
        gradient = gradient_of(value, changed, samples=samples)
        changed = threat.project(changed + length * threat.step(gradient), clean)
    return changed


def step_lengths(threat: ThreatModel, steps: int) -> list[float]:
    """Lengths of steps that become shorter; the ratio of neighbours is constant.

    Of 10 steps the last has 0.016 of the first one's length, of 2 steps 0.1.
    """
    shares = [_SHORTENING ** (number / steps) for number in range(steps)]
    return [_PATH * threat.epsilon * share / sum(shares) for share in shares]


def gradient_of(value: Callable[[Tensor], Tensor], pixels: Tensor, *, samples: int = 1) -> Tensor:
    """Gradient of the summed values with respect to the pixels.

    Args:
        value: (batch, C, H, W) -> (batch,).
        pixels: (batch, C, H, W).
        samples: gradients that are averaged; see `gradient_and_notes`.
    """
    gradient, _ = gradient_and_notes(lambda asked: (value(asked), None), pixels, samples=samples)
    return gradient


def gradient_and_notes(
    value: Callable[[Tensor], tuple[Tensor, _Notes]], pixels: Tensor, *, samples: int
) -> tuple[Tensor, list[_Notes]]:
    """`gradient_of` for a value that returns something else too.

    With several samples this is the expectation over transformation (EOT) of Athalye et al., "Synthesizing
    Robust Adversarial Examples" (2018): a value that draws something anew each time it is asked has a
    random gradient, and the mean of several is followed. One graph is in memory at a time.

    Args:
        value: (batch, C, H, W) -> (batch,) and the notes.
        pixels: (batch, C, H, W).
        samples: how often the value is asked, >= 1.

    Returns:
        The mean gradient, and the notes of every sample as they are.
    """
    gradient, first = _gradient(value, pixels)
    notes = [first]
    for _ in range(samples - 1):
        another, more = _gradient(value, pixels)
        gradient += another
        notes.append(more)
    return gradient / samples, notes


def _gradient(value: Callable[[Tensor], tuple[Tensor, _Notes]], pixels: Tensor) -> tuple[Tensor, _Notes]:
    with torch.enable_grad():
        asked = pixels.detach().requires_grad_()
        values, notes = value(asked)
        (gradient,) = torch.autograd.grad(values.sum(), asked)
    return gradient, notes
