"""The heads as their papers print them: one sample, scalars, no shortcuts."""

from __future__ import annotations

import math


def cosine(first: list[float], second: list[float]) -> float:
    norms = math.sqrt(sum(a * a for a in first)) * math.sqrt(sum(b * b for b in second))
    return sum(a * b for a, b in zip(first, second, strict=True)) / norms


def softmax_oracle(x: list[float], weights: list[list[float]], biases: list[float]) -> list[float]:
    """W_j . x + b_j."""
    return [
        sum(a * b for a, b in zip(x, w, strict=True)) + bias for w, bias in zip(weights, biases, strict=True)
    ]


def normalised_softmax_oracle(x: list[float], weights: list[list[float]], scale: float) -> list[float]:
    """s cos(theta_j)."""
    return [scale * cosine(x, w) for w in weights]


def cosface_oracle(
    x: list[float], weights: list[list[float]], label: int, *, scale: float, margin: float
) -> list[float]:
    """CosFace, Eq. 4: s (cos(theta_y) - m), s cos(theta_j)."""
    return [scale * (cosine(x, w) - (margin if j == label else 0.0)) for j, w in enumerate(weights)]


def arcface_oracle(
    x: list[float], weights: list[list[float]], label: int, *, scale: float, margin_rad: float
) -> list[float]:
    """ArcFace, Eq. 3: s cos(theta_y + m), by the angle; cos(theta) - m sin(m) beyond theta + m = pi."""
    logits = []
    for j, w in enumerate(weights):
        cos = max(-1.0, min(1.0, cosine(x, w)))
        if j == label:
            theta = math.acos(cos)
            within = theta + margin_rad < math.pi
            cos = math.cos(theta + margin_rad) if within else cos - margin_rad * math.sin(margin_rad)
        logits.append(scale * cos)
    return logits


def cross_entropy_oracle(logits: list[float], label: int) -> float:
    """-log of the softmax at the label, with the largest logit taken out."""
    largest = max(logits)
    return math.log(sum(math.exp(logit - largest) for logit in logits)) - (logits[label] - largest)
