"""Orders in which pairs are taken, so that whatever part is taken spreads evenly over people and photos.

n things on a circle make n (n - 1) / 2 pairs: each with its neighbour, each with the next but one, and so on.
Every round of n pairs holds each thing twice, and the first half of the first round holds each once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray


def pair_count(things: int) -> int:
    """How many pairs there are."""
    return things * (things - 1) // 2


def circle_pair(number: int, things: int) -> tuple[int, int]:
    """The pair of that number, from 0; each pair of different things has one number.

    Args:
        number: below `pair_count(things)`.
        things: two or more.
    """
    step, place = number // things + 1, number % things
    if 2 * step < things:  # else opposite things: half a round, in which the order does not matter
        evens = (things + 1) // 2
        place = 2 * place if place < evens else 2 * (place - evens) + 1
    return place, (place + step) % things


def dealt_evenly(most: NDArray[np.int64], total: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How much each gives, so that all give `total`: equally much, as far as they have it.

    Args:
        most: what each has; together `total` or more.
        total: of all.
        rng: draws who gives one more.
    """
    low, high = 0, int(most.max(initial=0))
    while low < high:  # the highest level that does not give too much
        level = (low + high + 1) // 2
        low, high = (level, high) if np.minimum(most, level).sum() <= total else (low, level - 1)
    given = np.minimum(most, low)
    able = rng.permutation(np.flatnonzero(most > low))
    given[able[: total - int(given.sum())]] += 1
    return given


def pairs_across(counts: Sequence[int]) -> Iterator[tuple[int, int, int, int]]:
    """All pairs of photos of different people, once each: (person, photo, other person, photo).

    In the first round each two people meet once, each with the photo that comes next; then they meet again
    with other photos, as long as they have some.

    Args:
        counts: photos of each person, one or more.
    """
    used = [0] * len(counts)
    meetings: list[tuple[int, int, int, int]] = []
    for number in range(pair_count(len(counts))):
        one, other = circle_pair(number, len(counts))
        meeting = one, used[one] % counts[one], other, used[other] % counts[other]
        used[one] += 1
        used[other] += 1
        meetings.append(meeting)
        yield meeting
    for again in count(1):
        meetings = [meeting for meeting in meetings if again < counts[meeting[0]] * counts[meeting[2]]]
        if not meetings:
            return
        for one, photo, other, facing in meetings:
            # On the grid of both people's photos, along one diagonal after the other.
            turn = again // math.lcm(counts[one], counts[other])
            yield one, (photo + again) % counts[one], other, (facing + again + turn) % counts[other]
