"""Projected gradient ascent on any value, for the attacks that foolbox does not have."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from robustness.attacked_model import gradient_of
from robustness.threat_model import ThreatModel

# All steps together, in shares of epsilon: through the ball and back, with some to spare for turns.
_PATH = 5.0
# Of the last step to the first: coarse enough to get anywhere, fine enough to stay there.
_SHORTENING = 0.01


def ascend(
    value: Callable[[Tensor], Tensor], start: Tensor, clean: Tensor, *, threat: ThreatModel, steps: int
) -> Tensor:
    """x <- project(x + length * direction of the gradient), the lengths falling in equal ratios.

    Args:
        value: (batch, C, H, W) -> (batch,), to be raised; called on every version but the last.
        start: (batch, C, H, W), in the ball and in the box.
        clean: (batch, C, H, W).
        threat: ball, box and norm of a step.
        steps: how many, >= 1.

    Returns:
        The last version.
    """
    shares = [_SHORTENING ** (number / steps) for number in range(steps)]
    changed = start
    for share in shares:
        length = _PATH * threat.epsilon * share / sum(shares)
        changed = threat.project(changed + length * threat.step(gradient_of(value, changed)), clean)
    return changed
