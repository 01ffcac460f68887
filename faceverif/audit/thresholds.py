"""Two thresholds: when two identities are one person, and when a photo does not show its identity.

Both are read from the evaluation set, whose labels are assumed to be correct.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.errors import InputError
from faceverif.audit.people import People
from faceverif.audit.similarity import largest_within, pairs_within

MATCH_RULE = (
    "identities are compared by the cosine of their centres, the unit means of their photos' embeddings; at "
    "the threshold, the stated false match rate is expected for pairs of different people of the evaluation "
    "set: their scores beyond the start of the tail are modelled as exponential, with the scale from the "
    "median excess (excesses over a high threshold: Pickands 1975); the highest pairs themselves do not set "
    "the threshold, because an evaluation set holds some people under two names"
)
STRANGER_RULE = (
    "a photo is compared with the unit mean of its identity's other photos, at least two; the threshold is "
    "the highest cosine similarity below which at most the stated share of the evaluation set's photos lies"
)
EXPECTED_RULE = (
    "expected false alarms: the evaluation set's rate times the number of comparisons; it assumes that "
    "strangers are as similar, and photos as hard, in both sets; estimated precision: the share of the "
    "suspicions that remains when the expected false alarms are subtracted"
)
# The tail begins at this share of the pairs, holds at least this many, and at most this share of all pairs.
_TAIL_SHARE, _TAIL_PAIRS, _LARGEST_TAIL = 1e-4, 100, 0.1
FEWEST_PHOTOS = 3  # with two, nothing tells which one is wrong


@dataclass(frozen=True)
class MatchThreshold:
    """When two identities count as one person.

    Attributes:
        threshold: lowest similarity of their centres that counts as a match.
        false_match_rate: share of the pairs of different people that is expected to reach it.
        impostor_pairs: pairs of the evaluation set's identities.
        reached: how many of them reach it; more than expected are people under two names.
        tail_begins: similarity at which the exponential tail begins.
        tail_pairs: how many pairs it was fitted to.
        tail_scale: its mean excess.
        genuine_pairs: pairs of half an identity's photos with the other half.
        true_match_rate: share of those that reach the threshold.
    """

    threshold: float
    false_match_rate: float
    impostor_pairs: int
    reached: int
    tail_begins: float
    tail_pairs: int
    tail_scale: float
    genuine_pairs: int
    true_match_rate: float

    def expected_false_alarms(self, pairs: int) -> float:
        """How many of that many pairs of different people reach the threshold by chance."""
        return self.false_match_rate * pairs


@dataclass(frozen=True)
class StrangerThreshold:
    """When a photo is far from its identity.

    Attributes:
        threshold: below this similarity with the centre of the others.
        false_alarm_rate: share of the evaluation set's photos below it, at most the one asked for.
        photos: how many it was read from.
        false_alarms: how many of them lie below it.
    """

    threshold: float
    false_alarm_rate: float
    photos: int
    false_alarms: int

    def expected_false_alarms(self, photos: int) -> float:
        """How many of that many rightly labelled photos lie below the threshold."""
        return self.false_alarm_rate * photos


def refuse_unfit(photos: NDArray[np.int64], *, false_match_rate: float, false_alarm_rate: float) -> None:
    """Refuse rates that an evaluation set cannot resolve, before anything is embedded.

    Args:
        photos: (identities,) how many each has.
        false_match_rate: as for `match_threshold`.
        false_alarm_rate: as for `stranger_threshold`.

    Raises:
        InputError: the set has too few people for a tail, nobody with two photos, or too few photos of people
            with three; or a rate is out of range.
    """
    pairs, several = pairs_within(len(photos)), int((photos > 1).sum())
    tail_share = _tail_pairs(pairs) / max(pairs, 1)
    if tail_share > _LARGEST_TAIL or not several:
        raise InputError(
            "--against",
            f"must hold enough people for {_TAIL_PAIRS / _LARGEST_TAIL:,.0f} pairs, some with two photos",
            got=f"{counted(len(photos), 'person')}, {several:,} with two photos",
            fix="Give a larger set.",
        )
    comparable_photos = int(photos[photos >= FEWEST_PHOTOS].sum())
    _refuse_rate("--false-match-rate", false_match_rate, above=0, below=tail_share)
    _refuse_rate("--false-alarm-rate", false_alarm_rate, above=1 / max(comparable_photos, 1), below=1)


def _refuse_rate(field: str, rate: float, *, above: float, below: float) -> None:
    if not above < rate < below:
        raise InputError(
            field,
            f"must lie above {above:.2g} and below {below:.2g}: --against can resolve no other rate",
            got=f"{rate:g}",
            fix="Choose such a rate, or a larger set.",
        )


def _tail_pairs(pairs: int) -> int:
    return max(_TAIL_PAIRS, int(_TAIL_SHARE * pairs))


def match_threshold(people: People, *, false_match_rate: float) -> MatchThreshold:
    """Calibrate the comparison of identities; see `MATCH_RULE`.

    Args:
        people: of the evaluation set.
        false_match_rate: the share of pairs of different people that may reach the threshold; accepted by
            `refuse_unfit`.
    """
    pairs = pairs_within(len(people.names))
    tail_pairs = _tail_pairs(pairs)
    first, second = people.half_centres()
    scores = largest_within(tail_pairs + 1, people.centres).astype(np.float64)
    begins = scores[tail_pairs]
    scale = float(np.median(scores[:tail_pairs] - begins)) / math.log(2)
    threshold = float(begins + scale * math.log(tail_pairs / pairs / false_match_rate))
    genuine = np.einsum("pd,pd->p", first, second)
    return MatchThreshold(
        threshold=threshold,
        false_match_rate=false_match_rate,
        impostor_pairs=pairs,
        reached=int((scores[:tail_pairs] >= threshold).sum()),
        tail_begins=float(begins),
        tail_pairs=tail_pairs,
        tail_scale=scale,
        genuine_pairs=len(genuine),
        true_match_rate=float((genuine >= threshold).mean()),
    )


def stranger_threshold(people: People, *, false_alarm_rate: float) -> StrangerThreshold:
    """Calibrate the comparison of a photo with its identity; see `STRANGER_RULE`.

    Args:
        people: of the evaluation set.
        false_alarm_rate: the share of its photos that may lie below the threshold; accepted by
            `refuse_unfit`.
    """
    scores = np.sort(people.own_scores[comparable(people)])
    threshold = float(scores[int(false_alarm_rate * len(scores))])
    below = int((scores < threshold).sum())
    return StrangerThreshold(threshold, below / len(scores), len(scores), below)


def comparable(people: People) -> NDArray[np.bool_]:
    """(photos,) True for photos of identities with enough others to compare with."""
    return people.photos[people.labels] >= FEWEST_PHOTOS
