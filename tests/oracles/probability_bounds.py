"""What mean and variance alone say of a probability: Sec. 2 of the SNR paper (Ghobadzadeh & Lashkari)."""

from __future__ import annotations

import torch
from torch import Tensor


def cantelli_upper(mean: Tensor | float, variance: Tensor | float, threshold: Tensor | float) -> Tensor:
    """Largest possible Pr(x >= threshold), Theorem 1 of Ghobadzadeh & Lashkari.

    Args:
        mean: any shape, as the others, broadcast.
        variance: >= 0.
        threshold: eta.

    Returns:
        In [0, 1], float64.
    """
    mean, variance, threshold = _as_double(mean, variance, threshold)
    square = (threshold - mean).square()
    return torch.where(threshold <= mean, 1.0, variance / (variance + square))


def cdf_bounds(
    mean: Tensor | float, variance: Tensor | float, threshold: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Smallest and largest possible Pr(x <= threshold), Eqs. 5 to 7: what Theorem 1 says of -x and of x.

    Args:
        mean: any shape, as the others, broadcast.
        variance: >= 0.
        threshold: eta.

    Returns:
        Both in [0, 1], float64. The smallest is met by distributions with no mass on the threshold itself.
    """
    mean, variance, threshold = _as_double(mean, variance, threshold)
    lower = 1.0 - cantelli_upper(mean, variance, threshold)
    return lower, cantelli_upper(-mean, variance, -threshold)


def two_sided_upper(
    mean: Tensor | float, variance: Tensor | float, lower: Tensor | float, upper: Tensor | float
) -> Tensor:
    """Largest possible Pr(x <= lower or x >= upper), Theorem 2 (Eq. 8), as printed.

    It is not a bound everywhere. The proof's first case puts the middle mass on the mean; elsewhere it can do
    better. For distances a <= b of the thresholds from the mean with a b > variance > a (b - a) / 2 and
    a < b, mass at (b - a) / 2 reaches `selberg_upper`, which is larger; in all other cases the two agree.
    The loss uses one-sided bounds only, so it does not suffer.

    Args:
        mean: any shape, as the others, broadcast.
        variance: >= 0.
        lower: eta_1; 1 is returned unless it lies below the mean.
        upper: eta_2; 1 is returned unless it lies above the mean.

    Returns:
        In [0, 1], float64.
    """
    mean, variance, lower, upper = _as_double(mean, variance, lower, upper)
    below, above = mean - lower, upper - mean
    nearer = torch.minimum(below, above)
    bound = torch.maximum(variance / (below * above), variance / (variance + nearer.square()))
    around = (below > 0) & (above > 0) & (below * above >= variance)
    return torch.where(around, bound, 1.0)


def selberg_upper(
    mean: Tensor | float, variance: Tensor | float, lower: Tensor | float, upper: Tensor | float
) -> Tensor:
    """Largest possible Pr(x <= lower or x >= upper), Selberg's inequality: true and tight everywhere.

    H. L. Selberg, "Zwei Ungleichungen zur Ergaenzung des Tchebycheffschen Lemmas" (1940).

    Args:
        mean: any shape, as the others, broadcast.
        variance: >= 0.
        lower: 1 is returned unless it lies below the mean.
        upper: 1 is returned unless it lies above the mean.

    Returns:
        In [0, 1], float64.
    """
    mean, variance, lower, upper = _as_double(mean, variance, lower, upper)
    near = torch.minimum(mean - lower, upper - mean)
    far = torch.maximum(mean - lower, upper - mean)
    one_sided = variance / (variance + near.square())
    both_sides = ((far - near).square() + 4.0 * variance) / (far + near).square()
    bound = torch.where(near * (far - near) >= 2.0 * variance, one_sided, both_sides)
    return torch.where((near > 0) & (near * far >= variance), bound, 1.0)


def interval_upper(
    mean: Tensor | float, variance: Tensor | float, lower: Tensor | float, upper: Tensor | float
) -> Tensor:
    """Largest possible Pr(lower <= x <= upper), Theorem 3.

    Args:
        mean: any shape, as the others, broadcast.
        variance: >= 0.
        lower: eta_1.
        upper: eta_2 >= eta_1.

    Returns:
        In [0, 1], float64; 1 where the mean lies in the interval.
    """
    mean, variance, lower, upper = _as_double(mean, variance, lower, upper)
    outside = torch.maximum(lower - mean, mean - upper)
    return torch.where(outside <= 0, 1.0, variance / (variance + outside.square()))


def interval_lower(
    mean: Tensor | float, variance: Tensor | float, lower: Tensor | float, upper: Tensor | float
) -> Tensor:
    """Smallest possible Pr(lower < x < upper), Eq. 10: one minus `two_sided_upper`, with what that says.

    Args:
        mean: any shape, as the others, broadcast.
        variance: >= 0.
        lower: eta_1.
        upper: eta_2.

    Returns:
        In [0, 1], float64; 0 unless the mean lies inside.
    """
    return 1.0 - two_sided_upper(mean, variance, lower, upper)


def _as_double(*values: Tensor | float) -> list[Tensor]:
    return list(torch.broadcast_tensors(*(torch.as_tensor(value, dtype=torch.float64) for value in values)))
