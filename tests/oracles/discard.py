"""The error-versus-discard characteristic by its definition: for every least quality, discard and count."""

from __future__ import annotations

import math
from collections.abc import Sequence


def rate_where_at_most(share: float, quality: Sequence[float], wrong: Sequence[bool]) -> float:
    """False non-match rate of what is left by the highest least quality that discards at most that share."""
    known = [-math.inf if math.isnan(value) else value for value in quality]
    best = sum(wrong) / len(wrong)
    for least in sorted(set(known)):
        left = [error for value, error in zip(known, wrong, strict=True) if value >= least]
        if len(known) - len(left) <= share * len(known) + 1e-9:
            best = sum(left) / len(left)
    return best


def area(to: float, quality: Sequence[float], wrong: Sequence[bool]) -> float:
    """Mean of the rate over all shares up to `to`, in steps of one pair; `to` must be a number of pairs."""
    steps = round(to * len(quality))
    return sum(rate_where_at_most(step / len(quality), quality, wrong) for step in range(steps)) / steps
