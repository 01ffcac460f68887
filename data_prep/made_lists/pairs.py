"""A protocol of anyone's own photos: genuine and impostor pairs in balanced folds that share no person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError
from data_prep.made_lists.people import People
from data_prep.made_lists.spread import circle_pair, dealt_evenly, pair_count, pairs_across

_MOST_PAIRS = 100_000  # of a list whose length nobody asked for
_USES = 10  # of a photo in impostor pairs, likewise


@dataclass(frozen=True)
class MadePairs:
    """Pairs that were drawn.

    Attributes:
        left, right: (pairs,) photo keys.
        same: (pairs,).
        fold: (pairs,) from 1.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    same: NDArray[np.bool_]
    fold: NDArray[np.int64]

    @property
    def folds(self) -> int:
        """How many there are."""
        return int(self.fold.max())


class _Fold:
    """The people of a fold, in an order of chance, and so are their photos.

    Args:
        people: of the whole set.
        members: (people,) their numbers.
        rng: draws the orders.
    """

    def __init__(self, people: People, members: NDArray[np.int64], rng: np.random.Generator) -> None:
        self._people, self._rng = people, rng
        self._members = rng.permutation(members)
        self._counts = people.counts[self._members]
        self._order = [rng.permutation(int(photos)) for photos in self._counts]

    def genuine(self, pairs: int) -> Iterator[tuple[str, str]]:
        """Genuine pairs, equally many of each person as far as there are."""
        own = _genuine(self._counts)
        most = np.minimum(own, self._counts)
        given = dealt_evenly(most if most.sum() >= pairs else own, pairs, self._rng)
        for member, number in enumerate(given.tolist()):
            for pair in range(number):
                one, other = circle_pair(pair, int(self._counts[member]))
                yield self._photo(member, one), self._photo(member, other)

    def impostors(self, pairs: int) -> Iterator[tuple[str, str]]:
        """Impostor pairs, each person in equally many."""
        for one, photo, other, its in islice(pairs_across(self._counts.tolist()), pairs):
            yield self._photo(one, photo), self._photo(other, its)

    def _photo(self, member: int, number: int) -> str:
        return self._people.photo(int(self._members[member]), int(self._order[member][number]))


def draw_pairs(people: People, *, folds: int, pairs: int | None, seed: int) -> MadePairs:
    """Draw as many genuine as impostor pairs in each fold.

    A person is in one fold. No pair stands twice, and none is a photo with itself. Where the length is not
    given, a person has at most as many genuine pairs as photos, and a photo is in about ten impostor pairs at
    most.

    Args:
        people: the photos; a person with one photo serves in impostor pairs alone.
        folds: how many.
        pairs: of both kinds in all folds; null: as many as the photos give by the rule above.
        seed: of every draw.

    Raises:
        InputError: too few people for the folds, or too few photos for the pairs.
    """
    counts = people.counts
    members = _members(counts, folds, np.random.default_rng([seed, folds]))
    if _most(counts, members) == 0:
        raise _too_few_people(people, folds)
    each = _default(counts, members) if pairs is None else _asked(pairs, people, members)
    left, right = [], []
    for number, fold in enumerate(members):
        drawn = _Fold(people, fold, np.random.default_rng([seed, folds, number]))
        for one, other in [*drawn.genuine(each), *drawn.impostors(each)]:
            left.append(one)
            right.append(other)
    same = np.tile(np.repeat([True, False], each), folds)
    return MadePairs(tuple(left), tuple(right), same, np.repeat(np.arange(1, folds + 1), 2 * each))


def _members(counts: NDArray[np.int64], folds: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """The people of each fold: equally many, and with about as many genuine pairs.

    Those with the most photos are dealt first, one to each fold; of each such round the fold that has the
    fewest pairs gets the person with the most.
    """
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order], kind="stable")]
    own = np.minimum(_genuine(counts), counts)
    members: list[list[int]] = [[] for _ in range(folds)]
    sums = np.zeros(folds, dtype=np.int64)
    for start in range(0, len(order), folds):
        dealt = order[start : start + folds]
        sizes = np.array([len(fold) for fold in members])
        for person, fold in zip(dealt.tolist(), np.lexsort((sums, sizes)).tolist(), strict=False):
            members[fold].append(person)
            sums[fold] += own[person]
    return [np.array(fold, dtype=np.int64) for fold in members]


def _genuine(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(people,) the genuine pairs of each."""
    return counts * (counts - 1) // 2


def _most(counts: NDArray[np.int64], members: Sequence[NDArray[np.int64]]) -> int:
    """The pairs of a kind that every fold has."""
    return min(min(int(_genuine(counts[fold]).sum()), _impostors(counts[fold])) for fold in members)


def _impostors(counts: NDArray[np.int64]) -> int:
    return pair_count(int(counts.sum())) - int(_genuine(counts).sum())


def _default(counts: NDArray[np.int64], members: Sequence[NDArray[np.int64]]) -> int:
    """The pairs of a kind in a fold where nobody asked for a number; see `draw_pairs`."""
    own = np.minimum(_genuine(counts), counts)
    most = _MOST_PAIRS // (2 * len(members))
    for fold in members:
        few = _USES * int(counts[fold].min()) * len(fold) // 2
        most = min(most, int(own[fold].sum()), _impostors(counts[fold]), few)
    return max(most, 1)


def _asked(pairs: int, people: People, members: Sequence[NDArray[np.int64]]) -> int:
    """The pairs of a kind in a fold, as asked for.

    Raises:
        InputError: they cannot be divided so, or there are not as many.
    """
    kinds, most = 2 * len(members), _most(people.counts, members)
    if pairs > kinds * most:
        raise InputError(
            "--pairs",
            f"must be at most {kinds * most:,}: the fold with the fewest photos has {most:,} of a kind",
            got=f"{pairs:,}",
            fix=f"Use --pairs {kinds * most} or less, or fewer --folds.",
        )
    if pairs % kinds:
        less, more = pairs // kinds * kinds, (pairs // kinds + 1) * kinds
        fitting = [number for number in (less, more) if 0 < number <= kinds * most]
        raise InputError(
            "--pairs",
            f"must be a multiple of {kinds}: genuine and impostor pairs in each of {len(members)} folds",
            got=f"{pairs:,}",
            fix=f"Use --pairs {' or '.join(map(str, fitting))}.",
        )
    return pairs // kinds


def _too_few_people(people: People, folds: int) -> InputError:
    several = int((people.counts > 1).sum())
    most = min(several, len(people.names) // 2)
    way_out = f"Use --folds {most}, or align" if most > 1 else "Align"
    return InputError(
        "--folds",
        "needs two people in each fold, one of them with two photos or more",
        got=f"{folds} folds and {len(people.names):,} people, {several:,} of them with two photos or more",
        fix=f"{way_out} photos of more people.",
    )
