"""Error rates of groups and the interval of their ratio, pair by pair, as the definitions say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist


def group_of(left: str | None, right: str | None) -> str:
    """The row that a pair is counted in."""
    if left is None or right is None:
        return "unknown pairs"
    return left if left == right else "mixed pairs"


def counted(
    pairs: Sequence[tuple[str | None, str | None, float, bool]], threshold: float
) -> dict[str, list[int]]:
    """Row -> impostor pairs, false matches, genuine pairs, false non-matches."""
    rows: dict[str, list[int]] = {}
    for left, right, score, same in pairs:
        row = rows.setdefault(group_of(left, right), [0, 0, 0, 0])
        accepted = score >= threshold
        row[2 if same else 0] += 1
        row[3 if same else 1] += (not accepted) if same else accepted
    return rows


def walter_interval(a: int, n: int, b: int, m: int) -> tuple[float, float]:
    """Walter (1975): of (a / n) / (b / m), in the logarithm, half an error added."""
    ratio = ((a + 0.5) / (n + 0.5)) / ((b + 0.5) / (m + 0.5))
    error = math.sqrt(1 / (a + 0.5) - 1 / (n + 0.5) + 1 / (b + 0.5) - 1 / (m + 0.5))
    z = NormalDist().inv_cdf(0.975)
    return ratio * math.exp(-z * error), ratio * math.exp(z * error)
