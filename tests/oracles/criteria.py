"""The criteria as their papers print them: one sample, scalars, no shortcuts."""

from __future__ import annotations

import math

from heads import softmax_of


def cross_entropy_oracle(logits: list[float], label: int) -> float:
    """-log of the softmax at the label, with the largest logit taken out."""
    largest = max(logits)
    return math.log(sum(math.exp(logit - largest) for logit in logits)) - (logits[label] - largest)


def focal_oracle(logits: list[float], label: int, *, gamma: float) -> float:
    """Lin et al., Eq. 4: -(1 - p)^gamma log p."""
    p = softmax_of(logits)[label]
    return -((1 - p) ** gamma) * math.log(p)


def soft_label_oracle(logits: list[float], soft: list[float]) -> float:
    """-sum_k q_k log p_k."""
    return sum(q * cross_entropy_oracle(logits, k) for k, q in enumerate(soft))


def label_smoothing_oracle(logits: list[float], label: int, *, smoothing: float) -> float:
    """Szegedy et al., Sec. 7: q_k = (1 - e) [k = y] + e / C."""
    count = len(logits)
    return soft_label_oracle(
        logits, [(1 - smoothing) * (k == label) + smoothing / count for k in range(count)]
    )


def improved_oracle(logits: list[float], label: int, *, beta: float, gamma: float) -> float:
    """Wen et al. (2021), Eq. 4: -softmax(-beta x) exp(gamma) log softmax(x), at the true class."""
    weight = softmax_of([-beta * logit for logit in logits])[label]
    return weight * math.exp(gamma) * cross_entropy_oracle(logits, label)


def unified_cross_entropy_oracle(logits: list[float], label: int, *, threshold: float) -> float:
    """Zhou et al. (2023), Sec. 3: log(1 + e^(b - z_y)) + sum over the others of log(1 + e^(z_j - b))."""
    above = [logit - threshold for logit in logits]
    return sum(math.log1p(math.exp(-each if k == label else each)) for k, each in enumerate(above))
