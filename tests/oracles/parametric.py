"""Sec. 3 of the SNR paper in plain Python: closed forms, finite differences, one sample at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

# Solutions of Eq. 12 from textbooks: the integral of the square root of Fisher's information.
STABILISED: dict[str, Callable[[float], float]] = {
    "chance": lambda theta: 2 * math.asin(math.sqrt(theta)),
    "poisson": lambda theta: 2 * math.sqrt(theta),
    "deviation": lambda theta: math.sqrt(2) * math.log(theta),
    "mean": lambda theta: theta / 0.7,
}
INFORMATION: dict[str, Callable[[float], float]] = {
    "chance": lambda theta: 1 / (theta * (1 - theta)),
    "poisson": lambda theta: 1 / theta,
    "deviation": lambda theta: 2 / theta**2,
    "mean": lambda theta: 1 / 0.49,
}


def signal_to_noise_oracle(
    g: Callable[[Sequence[float]], float],
    theta: Sequence[float],
    inverse_information: Sequence[Sequence[float]],
    *,
    threshold: float,
) -> float:
    """Eq. 11 with central differences and a given inverse."""
    step = 1e-6
    slopes = []
    for place in range(len(theta)):
        above, below = (
            [value + sign * step * (place == number) for number, value in enumerate(theta)]
            for sign in (1, -1)
        )
        slopes.append((g(above) - g(below)) / (2 * step))
    variance = sum(
        slopes[row] * inverse_information[row][column] * slopes[column]
        for row in range(len(theta))
        for column in range(len(theta))
    )
    return (g(theta) - threshold) ** 2 / variance
