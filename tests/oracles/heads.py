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


def turned_oracle(cos: float, margin_rad: float) -> float:
    """cos(theta + m), by the angle; cos(theta) - m sin(m) beyond theta + m = pi, as ArcFace's first code."""
    theta = math.acos(max(-1.0, min(1.0, cos)))
    if theta + margin_rad < math.pi:
        return math.cos(theta + margin_rad)
    return cos - margin_rad * math.sin(margin_rad)


def arcface_oracle(
    x: list[float], weights: list[list[float]], label: int, *, scale: float, margin_rad: float
) -> list[float]:
    """ArcFace, Eq. 3: s cos(theta_y + m), s cos(theta_j)."""
    cosines = [cosine(x, w) for w in weights]
    return [scale * (turned_oracle(cos, margin_rad) if j == label else cos) for j, cos in enumerate(cosines)]


def adaface_oracle(
    x: list[float], weights: list[list[float]], label: int, *, quality: float, scale: float, margin: float
) -> list[float]:
    """AdaFace, Sec. 3.3: s (cos(theta_y + g_angle) - g_add), g_angle = -m q, g_add = m q + m."""
    logits = []
    for j, w in enumerate(weights):
        cos = cosine(x, w)
        if j == label:
            g_angle, g_add = -margin * quality, margin * quality + margin
            theta = math.acos(max(-1.0, min(1.0, cos)))
            cos = math.cos(max(theta + g_angle, 0.0)) if g_angle < 0 else turned_oracle(cos, g_angle)
            cos -= g_add
        logits.append(scale * cos)
    return logits


def quality_oracle(norm: float, *, mean: float, deviation: float, h: float) -> float:
    """AdaFace, Sec. 3.3: (|z| - mean) / (deviation / h), clipped to [-1, 1]; 1e-3 as in the authors' code."""
    return max(-1.0, min(1.0, (norm - mean) / (deviation + 1e-3) * h))


def magface_oracle(
    x: list[float],
    weights: list[list[float]],
    label: int,
    *,
    scale: float,
    norms: tuple[float, float],
    margins_rad: tuple[float, float],
) -> list[float]:
    """MagFace, Sec. 3.2: the margin of ArcFace is m(a), a line from (l_a, l_m) to (u_a, u_m)."""
    a = min(max(math.sqrt(sum(value * value for value in x)), norms[0]), norms[1])
    share = (a - norms[0]) / (norms[1] - norms[0])
    margin_rad = (1 - share) * margins_rad[0] + share * margins_rad[1]
    return arcface_oracle(x, weights, label, scale=scale, margin_rad=margin_rad)


def curricularface_oracle(
    x: list[float],
    weights: list[list[float]],
    label: int,
    *,
    stage: float,
    scale: float,
    margin_rad: float,
) -> list[float]:
    """CurricularFace, Sec. 3.2: N(t, cos) = cos where T(cos_y) >= cos, else cos (t + cos)."""
    logits = []
    own = turned_oracle(cosine(x, weights[label]), margin_rad)
    for j, w in enumerate(weights):
        cos = cosine(x, w)
        negative = cos if own >= cos else cos * (stage + cos)
        logits.append(scale * (own if j == label else negative))
    return logits


def subcenter_arcface_oracle(
    x: list[float], centres: list[list[list[float]]], label: int, *, scale: float, margin_rad: float
) -> list[float]:
    """Sub-center ArcFace, Sec. 3.2: ArcFace on the largest cosine with the centres of each class."""
    logits = []
    for j, of_class in enumerate(centres):
        cos = max(cosine(x, centre) for centre in of_class)
        logits.append(scale * (turned_oracle(cos, margin_rad) if j == label else cos))
    return logits


def multiplied_angle_oracle(cos: float, margin: int) -> float:
    """L-Softmax, Eq. 6: (-1)^k cos(m theta) - 2 k, theta in [k pi / m, (k + 1) pi / m], by the angle."""
    theta = math.acos(max(-1.0, min(1.0, cos)))
    k = min(int(theta * margin / math.pi), margin - 1)
    return (-1) ** k * math.cos(margin * theta) - 2 * k


def sphereface_oracle(
    x: list[float], weights: list[list[float]], label: int, *, margin: int, share: float
) -> list[float]:
    """SphereFace, Eq. 7: |x| psi(theta_y), |x| cos(theta_j); share = 1 / (1 + lambda)."""
    norm, logits = math.sqrt(sum(a * a for a in x)), []
    for j, w in enumerate(weights):
        cos = cosine(x, w)
        if j == label:
            cos = (1 - share) * cos + share * multiplied_angle_oracle(cos, margin)
        logits.append(norm * cos)
    return logits


def lsoftmax_oracle(
    x: list[float], weights: list[list[float]], label: int, *, margin: int, share: float
) -> list[float]:
    """L-Softmax, Eqs. 4-6: |w_y| |x| psi(theta_y), w_j . x."""
    lengths = [math.sqrt(sum(a * a for a in w)) for w in weights]
    unit = sphereface_oracle(x, weights, label, margin=margin, share=share)
    return [length * logit for length, logit in zip(lengths, unit, strict=True)]


def wsoftmax_oracle(x: list[float], weights: list[list[float]], label: int, *, alpha: float) -> list[float]:
    """Algorithm 1 of Li & Wang as printed: one sample, its own weight matrix, no shortcuts."""
    units = []
    for w in weights:
        norm = math.sqrt(sum(a * a for a in w))
        units.append([a / norm for a in w])
    logits = []
    for j, w in enumerate(units):
        if j != label:
            pulled = [alpha * a + b for a, b in zip(units[label], w, strict=True)]
            norm = math.sqrt(sum(a * a for a in pulled))
            w = [a / norm for a in pulled]
        logits.append(sum(a * b for a, b in zip(w, x, strict=True)))
    return logits


def lgm_distance_oracle(x: list[float], mean: list[float], log_variances: list[float]) -> float:
    """L-GM, Eq. 18: 1/2 (x - mu)^T Lambda^-1 (x - mu)."""
    return 0.5 * sum((a - m) ** 2 / math.exp(v) for a, m, v in zip(x, mean, log_variances, strict=True))


def lgm_oracle(
    x: list[float],
    means: list[list[float]],
    log_variances: list[list[float]],
    label: int | None,
    *,
    alpha: float,
) -> list[float]:
    """L-GM, Eq. 17: log of |Lambda_k|^(-1/2) exp(-d_k (1 + alpha [k = z]))."""
    logits = []
    for k, (mean, variances) in enumerate(zip(means, log_variances, strict=True)):
        margin = alpha if k == label else 0.0
        determinant = math.prod(math.exp(v) for v in variances)
        logits.append(-0.5 * math.log(determinant) - (1 + margin) * lgm_distance_oracle(x, mean, variances))
    return logits


def shared_lgm_oracle(
    x: list[float], means: list[list[float]], whitening: list[list[float]], label: int, *, alpha: float
) -> list[float]:
    """L-GM, Eq. 17, with one precision W W' for all classes, W upper triangular."""
    logits = []
    for k, mean in enumerate(means):
        away = [a - m for a, m in zip(x, mean, strict=True)]
        along = [sum(a * row[j] for a, row in zip(away, whitening, strict=True)) for j in range(len(x))]
        distance = 0.5 * sum(a * a for a in along)
        root = math.prod(whitening[j][j] for j in range(len(x)))
        logits.append(math.log(abs(root)) - (1 + (alpha if k == label else 0.0)) * distance)
    return logits


def softmax_of(logits: list[float]) -> list[float]:
    largest = max(logits)
    powers = [math.exp(logit - largest) for logit in logits]
    return [power / sum(powers) for power in powers]
