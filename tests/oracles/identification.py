"""Searches and their rates as ISO/IEC 19795-1 words them: one probe, one person, one threshold at a time."""

from __future__ import annotations

from fractions import Fraction

Vector = list[float]


def person_similarities(probe: Vector, gallery: list[tuple[Vector, int]]) -> dict[int, float]:
    """Each person of the gallery with the largest product over their entries."""
    found: dict[int, float] = {}
    for entry, person in gallery:
        product = sum(a * b for a, b in zip(probe, entry, strict=True))
        found[person] = max(found.get(person, -2.0), product)
    return found


def mate_rank(similarities: dict[int, float], mate: int) -> int:
    """1 + the number of other people who are at least as similar as the mate."""
    others = [value for person, value in similarities.items() if person != mate]
    return 1 + sum(value >= similarities[mate] for value in others)


def cmc(ranks: list[int | None], rank: int) -> Fraction:
    """Share of the mated searches whose mate has this rank or a better one; None: it was not found."""
    return Fraction(sum(found is not None and found <= rank for found in ranks), len(ranks))


def fpir(highest: list[float | None], threshold: float) -> Fraction:
    """Share of the non-mated searches with somebody at the threshold or above; None: nothing was returned."""
    return Fraction(sum(value is not None and value >= threshold for value in highest), len(highest))


def tpir(mates: list[tuple[int | None, float]], threshold: float) -> Fraction:
    """Share of the mated searches with the mate at rank 1 and at the threshold or above."""
    return Fraction(sum(rank == 1 and value >= threshold for rank, value in mates), len(mates))
