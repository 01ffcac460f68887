"""The interval of a rate that was counted."""

from __future__ import annotations

import math

NORMAL_QUANTILE_95 = 1.959963984540054


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a rate that was measured as `count` in `total`; Wilson (1927)."""
    rate, z2 = count / total, NORMAL_QUANTILE_95**2
    centre = rate + z2 / (2 * total)
    spread = NORMAL_QUANTILE_95 * math.sqrt(rate * (1 - rate) / total + z2 / (4 * total**2))
    scale = 1 + z2 / total
    low = (centre - spread) / scale if count else 0.0  # exactly, whatever rounding leaves
    return low, (centre + spread) / scale if count < total else 1.0


def exact_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a rate that was measured as `count` in `total`; Clopper and Pearson (1934).

    It holds with 95 % or more for every rate. Wilson's is shorter, and holds with 95 % on average over rates.
    """
    from scipy.special import betaincinv  # late: a command that asks for no such interval need not wait

    low = float(betaincinv(count, total - count + 1, 0.025)) if count else 0.0
    return low, float(betaincinv(count + 1, total - count, 0.975)) if count < total else 1.0
