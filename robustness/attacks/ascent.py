"""Projected gradient ascent on any value, for the attacks that foolbox does not have."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from robustness.attacked_model import gradient_of
from robustness.threat_model import ThreatModel

# Length of all steps together, in units of epsilon: through the ball and back, and more for turns.
_PATH = 5.0
# Length of the last step as a share of the first: long steps reach any place, short ones keep it.
_SHORTENING = 0.01


def ascend(
    value: Callable[[Tensor], Tensor], start: Tensor, clean: Tensor, *, threat: ThreatModel, steps: int
) -> Tensor:
    """x <- project(x + length * direction of the gradient); the lengths are those of `step_lengths`.

    Args:
        value: (batch, C, H, W) -> (batch,), to be raised; called on every version but the last.
        start: (batch, C, H, W), in the ball and in the box.
        clean: (batch, C, H, W).
        threat: ball, box and norm of a step.
        steps: how many, >= 1.

    Returns:
        The last version.
    """
    changed = start
    for length in step_lengths(threat, steps):
        changed = threat.project(changed + length * threat.step(gradient_of(value, changed)), clean)
    return changed


def step_lengths(threat: ThreatModel, steps: int) -> list[float]:
    """The length of each step; the ratio of neighbours is constant."""
    shares = [_SHORTENING ** (number / steps) for number in range(steps)]
    return [_PATH * threat.epsilon * share / sum(shares) for share in shares]
