"""Derivatives by differences, for oracles that know only values."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def numeric_gradient(function: Callable[[Tensor], float], point: Tensor, *, step: float = 1e-6) -> Tensor:
    """Central differences in float64, the step relative to each coordinate's size."""
    gradient = torch.zeros_like(point)
    for index in range(point.numel()):
        here = point.reshape(-1)[index].item()
        width = step * max(1.0, abs(here))
        ends = []
        for end in (here + width, here - width):
            moved = point.clone()
            moved.view(-1)[index] = end
            ends.append(function(moved))
        gradient.view(-1)[index] = (ends[0] - ends[1]) / (2 * width)
    return gradient
