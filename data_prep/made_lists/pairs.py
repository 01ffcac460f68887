"""A protocol of anyone's own photos: genuine and impostor pairs in balanced folds that share no person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

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
        group: (pairs,) of the people on both photos; empty where it is not known, or nobody asked for groups.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    same: NDArray[np.bool_]
    fold: NDArray[np.int64]
    group: tuple[str, ...]

    @property
    def folds(self) -> int:
        """How many there are."""
        return int(self.fold.max())


class _Pair(NamedTuple):
    left: str
    right: str
    group: str


@dataclass(frozen=True)
class _Everybody:
    """Of all people: (people,) how many photos each has, and their group; -1 where it is not known."""

    people: People
    counts: NDArray[np.int64]
    names: tuple[str, ...]
    group: NDArray[np.int64]

    @classmethod
    def of(cls, people: People, groups: Sequence[str] | None) -> _Everybody:
        """Everybody is in one group where nobody asked for groups."""
        if groups is None:
            return cls(people, people.counts, ("",), np.zeros(len(people.names), np.int64))
        names = tuple(sorted(set(groups) - {""}))
        place = {name: number for number, name in enumerate(names)}
        return cls(
            people, people.counts, names, np.array([place.get(group, -1) for group in groups], np.int64)
        )

    def each_group(self, members: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Some people by the groups that are known."""
        return [members[self.group[members] == number] for number in range(len(self.names))]

    def name(self, person: int) -> str:
        """The group's; empty where it is not known."""
        return self.names[self.group[person]] if self.group[person] >= 0 else ""


class _Fold:
    """The people of a fold, in an order of chance, and so are their photos.

    Args:
        everybody: of the whole set.
        members: their numbers.
        rng: draws the orders.
    """

    def __init__(self, everybody: _Everybody, members: NDArray[np.int64], rng: np.random.Generator) -> None:
        self._all, self._rng = everybody, rng
        self._members = rng.permutation(members)
        counts = everybody.counts[self._members]
        self._order = {
            person: rng.permutation(photos)
            for person, photos in zip(self._members.tolist(), counts.tolist(), strict=True)
        }

    def genuine(self, pairs: int) -> Iterator[_Pair]:
        """Genuine pairs, equally many of each person as far as there are."""
        counts = self._all.counts[self._members]
        own = _genuine(counts)
        most = np.minimum(own, counts)
        given = dealt_evenly(most if most.sum() >= pairs else own, pairs, self._rng)
        for person, photos, number in zip(
            self._members.tolist(), counts.tolist(), given.tolist(), strict=True
        ):
            for pair in range(number):
                one, other = circle_pair(pair, photos)
                yield _Pair(self._photo(person, one), self._photo(person, other), self._all.name(person))

    def impostors(self, pairs: int) -> Iterator[_Pair]:
        """Impostor pairs, equally many of each group, and each person of a group in equally many."""
        groups = self._all.each_group(self._members)
        most = np.array([_impostors(self._all.counts[group]) for group in groups], np.int64)
        for group, number in zip(groups, dealt_evenly(most, pairs, self._rng).tolist(), strict=True):
            drawn = pairs_across(self._all.counts[group].tolist())
            for one, photo, other, facing in islice(drawn, number):
                left, right = self._photo(int(group[one]), photo), self._photo(int(group[other]), facing)
                yield _Pair(left, right, self._all.name(int(group[one])))

    def _photo(self, person: int, number: int) -> str:
        return self._all.people.photo(person, int(self._order[person][number]))


def draw_pairs(
    people: People, *, folds: int, pairs: int | None, seed: int, groups: Sequence[str] | None = None
) -> MadePairs:
    """Draw as many genuine as impostor pairs in each fold.

    A person is in one fold. No pair stands twice, and none is a photo with itself. Where the length is not
    given, a person has at most as many genuine pairs as photos, and a photo is in about ten impostor pairs at
    most.

    Args:
        people: the photos; a person with one photo serves in impostor pairs alone.
        folds: how many.
        pairs: of both kinds in all folds; None: as many as the photos give by the rule above.
        seed: of every draw.
        groups: (people,) of each; empty where it is not known. Impostor pairs are then drawn within a group,
            and people without one serve in genuine pairs alone.

    Raises:
        InputError: too few people for the folds, or too few photos for the pairs.
    """
    everybody = _Everybody.of(people, groups)
    members = _members(everybody, folds, seed)
    if _most(everybody, members) == 0:
        raise _too_few_people(everybody, folds, seed)
    each = _default(everybody, members) if pairs is None else _asked(pairs, everybody, members)
    drawn: list[_Pair] = []
    for number, fold in enumerate(members):
        of_fold = _Fold(everybody, fold, np.random.default_rng([seed, folds, number]))
        drawn += [*of_fold.genuine(each), *of_fold.impostors(each)]
    left, right, group = zip(*drawn, strict=True)
    same = np.tile(np.repeat([True, False], each), folds)
    return MadePairs(left, right, same, np.repeat(np.arange(1, folds + 1), 2 * each), group)


def _members(everybody: _Everybody, folds: int, seed: int) -> list[NDArray[np.int64]]:
    """The people of each fold: of each group equally many, and with about as many genuine pairs.

    Those with the most photos are dealt first, one to each fold; of each such round the fold that has the
    fewest pairs gets the person with the most.
    """
    counts = everybody.counts
    order = np.random.default_rng([seed, folds]).permutation(len(counts))
    order = order[np.argsort(-counts[order], kind="stable")]
    groups = [*everybody.each_group(order), order[everybody.group[order] < 0]]
    sums = np.zeros(folds, dtype=np.int64)
    dealt = [_dealt(group, np.minimum(_genuine(counts), counts), sums) for group in groups]
    return [np.concatenate(parts) for parts in zip(*dealt, strict=True)]


def _dealt(
    order: NDArray[np.int64], own: NDArray[np.int64], sums: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """The people of a group by fold; `sums`, the pairs of each fold, grows by theirs."""
    folds = len(sums)
    members: list[list[int]] = [[] for _ in range(folds)]
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


def _most(everybody: _Everybody, members: Sequence[NDArray[np.int64]]) -> int:
    """The pairs of a kind that every fold has."""
    counts = everybody.counts
    impostors = [sum(_impostors(counts[group]) for group in everybody.each_group(fold)) for fold in members]
    return min(*(int(_genuine(counts[fold]).sum()) for fold in members), *impostors)


def _impostors(counts: NDArray[np.int64]) -> int:
    return pair_count(int(counts.sum())) - int(_genuine(counts).sum())


def _default(everybody: _Everybody, members: Sequence[NDArray[np.int64]]) -> int:
    """The pairs of a kind in a fold where nobody asked for a number; see `draw_pairs`."""
    own = np.minimum(_genuine(everybody.counts), everybody.counts)
    most = _MOST_PAIRS // (2 * len(members))
    for fold in members:
        impostors = sum(_few_impostors(everybody.counts[group]) for group in everybody.each_group(fold))
        most = min(most, int(own[fold].sum()), impostors)
    return max(most, 1)


def _few_impostors(counts: NDArray[np.int64]) -> int:
    """Impostor pairs of some people of which no photo is in more than `_USES`, if all serve equally."""
    return min(_impostors(counts), _USES * int(counts.min(initial=1)) * len(counts) // 2)


def _asked(pairs: int, everybody: _Everybody, members: Sequence[NDArray[np.int64]]) -> int:
    """The pairs of a kind in a fold, as asked for.

    Raises:
        InputError: they cannot be divided so, or there are not as many.
    """
    kinds, most = 2 * len(members), _most(everybody, members)
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


def _too_few_people(everybody: _Everybody, folds: int, seed: int) -> InputError:
    several, people = int((everybody.counts > 1).sum()), len(everybody.counts)
    fewer = range(min(folds - 1, several, people // 2), 1, -1)
    most = next((each for each in fewer if _most(everybody, _members(everybody, each, seed))), 0)
    alike = " of one group" if len(everybody.names) != 1 else ""
    return InputError(
        "--folds",
        f"needs two people{alike} in each fold, and somebody with two photos or more",
        got=f"{folds} folds and {people:,} people, {several:,} of them with two photos or more",
        fix=f"{f'Use --folds {most}, or align' if most else 'Align'} photos of more people.",
    )
