"""The penalties as their papers print them: scalars, loops, no shortcuts."""

from __future__ import annotations

import math
import statistics

from heads import softmax_of


def entropy_oracle(logits: list[float]) -> float:
    """GSC, Eqs. 7, 8: E(S) / log(n)."""
    return -sum(p * math.log(p) for p in softmax_of(logits) if p > 0) / math.log(len(logits))


def gsc_oracle(logits: list[float], *, top_c: int) -> float:
    """GSC, Eqs. 4-9: a product of Gaussian densities at the largest scores."""
    sigma = entropy_oracle(logits)
    largest = sorted(softmax_of(logits), reverse=True)[:top_c]
    return math.prod(
        math.exp(-(score**2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma) for score in largest
    )


def center_oracle(x: list[float], center: list[float]) -> float:
    """Wen et al. (2016), Eq. 2, one sample."""
    return 0.5 * sum((a - c) ** 2 for a, c in zip(x, center, strict=True))


def moved_centers_oracle(
    centers: list[list[float]], embeddings: list[list[float]], labels: list[int], *, step: float
) -> list[list[float]]:
    """Wen et al. (2016), Eq. 4: c_j - step * sum [y = j] (c_j - x) / (1 + sum [y = j])."""
    moved = []
    for j, center in enumerate(centers):
        own = [x for x, label in zip(embeddings, labels, strict=True) if label == j]
        moved.append(
            [c - step * sum(c - x[axis] for x in own) / (1 + len(own)) for axis, c in enumerate(center)]
        )
    return moved


def energy_oracle(weights: list[list[float]], label: int) -> float:
    """MHE, Eq. 1, s = 2: mean over the other classes of 1 / |u_y - u_j|^2."""
    units = []
    for w in weights:
        norm = math.sqrt(sum(a * a for a in w))
        units.append([a / norm for a in w])
    total = 0.0
    for j, unit in enumerate(units):
        if j != label:
            total += 1 / sum((a - b) ** 2 for a, b in zip(units[label], unit, strict=True))
    return total / (len(weights) - 1)


def snr_oracle(
    logits: list[list[float]],
    labels: list[int],
    thresholds: list[float],
    *,
    constraint_weight: float,
    margin: float,
) -> float:
    """SNR, Eqs. 17, 18, over the classes with two samples and a threshold."""
    total = 0.0
    for n, eta in enumerate(thresholds):
        rows = [row for row, label in zip(logits, labels, strict=True) if label == n]
        if len(rows) < 2 or math.isnan(eta):
            continue
        own = [row[n] for row in rows]
        s_n = (eta - statistics.mean(own)) ** 2 / statistics.variance(own)
        for i in range(len(thresholds)):
            if i == n:
                continue
            other = [row[i] for row in rows]
            s_in = (eta - statistics.mean(other)) ** 2 / statistics.variance(other)
            hinges = max(0, statistics.mean(other) - eta - margin) + max(
                0, eta - statistics.mean(own) + margin
            )
            total += 1 / s_n + 1 / s_in + constraint_weight * hinges
    return total
