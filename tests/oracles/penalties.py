"""The penalties as their papers print them: scalars, loops, no shortcuts."""

from __future__ import annotations

import math
import statistics
from itertools import combinations, product

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


def magnitude_oracle(x: list[float], *, norms: tuple[float, float]) -> float:
    """MagFace, Sec. 3.2: g(a) = a / u_a^2 + 1 / a, a within [l_a, u_a]."""
    a = min(max(math.sqrt(sum(value * value for value in x)), norms[0]), norms[1])
    return a / norms[1] ** 2 + 1 / a


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
    smallest_snr: float = 0.0,
) -> float:
    """SNR, Eqs. 17, 18, over the classes with two samples and a threshold.

    With a smallest SNR, one below it or of a mean on the wrong side counts as it.
    """
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
            if smallest_snr:
                s_n_held = max(s_n, smallest_snr) if statistics.mean(own) > eta else smallest_snr
                s_in = max(s_in, smallest_snr) if statistics.mean(other) < eta else smallest_snr
            else:
                s_n_held = s_n
            total += 1 / s_n_held + 1 / s_in + constraint_weight * hinges
    return total


def unit(x: list[float]) -> list[float]:
    """x / |x|."""
    length = math.sqrt(sum(value * value for value in x))
    return [value / length for value in x]


def triplet_oracle(rows: list[list[float]], labels: list[int], *, margin: float) -> float:
    """Schroff et al. (2015), with plain distances of unit vectors: mean over violated triplets."""
    units = [unit(row) for row in rows]
    terms = [
        math.dist(units[a], units[p]) - math.dist(units[a], units[n]) + margin
        for a, p, n in product(range(len(rows)), repeat=3)
        if a != p and labels[a] == labels[p] != labels[n]
    ]
    above = [term for term in terms if term > 0]
    return sum(above) / len(above)


def margin_oracle(
    rows: list[list[float]], triplets: list[tuple[int, int, int]], *, margin: float, boundary: float
) -> float:
    """Wu et al. (2017), for both pairs of each triplet, by the number of terms above zero."""
    units = [unit(row) for row in rows]
    terms = []
    for a, p, n in triplets:
        terms.append(max(0.0, margin + math.dist(units[a], units[p]) - boundary))
        terms.append(max(0.0, margin + boundary - math.dist(units[a], units[n])))
    return sum(terms) / sum(term > 0 for term in terms)


def n_pair_oracle(anchors: list[list[float]], positives: list[list[float]]) -> float:
    """Sohn (2016), Eq. 7: mean of log(1 + sum exp(f_i . f_j+ - f_i . f_i+))."""
    total = 0.0
    for own, anchor in enumerate(anchors):
        products = [sum(a * b for a, b in zip(anchor, other, strict=True)) for other in positives]
        total += math.log(sum(math.exp(value - products[own]) for value in products))
    return total / len(anchors)


def proxy_nca_oracle(x: list[float], proxies: list[list[float]], label: int, *, scale: float) -> float:
    """-log of exp(-scale d(x, p_y)^2) over the sum for all proxies, of unit vectors."""
    squares = [math.dist(unit(x), unit(proxy)) ** 2 for proxy in proxies]
    return scale * squares[label] + math.log(sum(math.exp(-scale * square) for square in squares))


def contrastive_oracle(rows: list[list[float]], labels: list[int], *, margin: float) -> float:
    """Hadsell et al. (2006), Eq. 4, of unit vectors: mean over pairs of one class plus mean over others."""
    units = [unit(row) for row in rows]
    same, other = [], []
    for i, j in combinations(range(len(rows)), 2):
        distance = math.dist(units[i], units[j])
        if labels[i] == labels[j]:
            same.append(0.5 * distance**2)
        else:
            other.append(0.5 * max(0.0, margin - distance) ** 2)
    return sum(same) / len(same) + sum(other) / len(other)
