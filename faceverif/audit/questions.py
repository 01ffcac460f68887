"""What an audit asks, one function per question; an answer lists suspicions, worst first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from data_prep.dataset.exclusions import Exclusion
from faceverif.audit.duplicates import DUPLICATE_RULE, duplicates
from faceverif.audit.people import People, plain_name
from faceverif.audit.similarity import nearest_other, pairs_from, pairs_within
from faceverif.audit.thresholds import (
    MATCH_RULE,
    STRANGER_RULE,
    MatchThreshold,
    StrangerThreshold,
    comparable,
)


class ShownPhoto(NamedTuple):
    """A photo of a set, for a picture."""

    people: People
    photo: int


class Suspicion(NamedTuple):
    """A photo or an identity that is probably wrong.

    Attributes:
        exclusion: what to leave out, why, and on what evidence.
        shown: the photos that let a person judge.
    """

    exclusion: Exclusion
    shown: tuple[ShownPhoto, ...]


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    Attributes:
        reason: the word that stands in the list of exclusions.
        title: for people.
        rule: how it was decided.
        suspicions: worst first.
        compared: how many pairs or photos were.
        expected_false_alarms: among the suspicions; None where the rule is not calibrated.
        excludes: whether the suspicions go into the list; those about the evaluation set do not.
    """

    reason: str
    title: str
    rule: str
    suspicions: list[Suspicion]
    compared: int
    expected_false_alarms: float | None
    excludes: bool = True

    @property
    def estimated_precision(self) -> float | None:
        """Share of the suspicions that is left after the expected false alarms."""
        if self.expected_false_alarms is None or not self.suspicions:
            return None
        return max(0.0, 1 - self.expected_false_alarms / len(self.suspicions))


def shared_names(train: People, against: People) -> Answer:
    """Identities that both sets call by the same name."""
    known = {plain_name(name): number for number, name in enumerate(against.names) if plain_name(name)}
    suspicions = [
        _shared(train, against, identity, known[plain_name(name)], reason="shared_name")
        for identity, name in enumerate(train.names)
        if plain_name(name) in known
    ]
    return Answer(
        "shared_name",
        "People in both sets, by name",
        "equal except for accents, case, spaces and punctuation; names that are mere numbers do not count",
        suspicions,
        compared=len(train.names) * len(against.names),
        expected_false_alarms=None,
    )


def shared_people(train: People, against: People, match: MatchThreshold) -> Answer:
    """Identities that show the same person in both sets."""
    pairs = pairs_from(match.threshold, train.centres, against.centres)
    compared = len(train.names) * len(against.names)
    return Answer(
        "shared_person",
        "People in both sets, by face",
        MATCH_RULE,
        [_shared(train, against, mine, other, reason="shared_person") for mine, other, _ in pairs.rows()],
        compared=compared,
        expected_false_alarms=match.expected_false_alarms(compared),
    )


def copies_of_evaluation(train: People, against: People) -> Answer:
    """Photos that are in both sets."""
    pairs = duplicates(train, against)
    reason, compared = "copy_of_evaluation", len(train.rows) * len(against.rows)
    suspicions = [
        Suspicion(
            Exclusion("photo", train.photo_name(i), reason, score, against.photo_name(j)),
            (ShownPhoto(train, i), ShownPhoto(against, j)),
        )
        for i, j, score in pairs.rows()
    ]
    return Answer(reason, "Photos in both sets", DUPLICATE_RULE, suspicions, compared, None)


def copies(train: People) -> Answer:
    """Photos that occur twice in the training set; the one that fits its identity less is listed.

    One order for all pairs, or three copies could each be listed because of another one.
    """
    suspicions = []
    for i, j, score in duplicates(train).rows():
        kept, gone = sorted((i, j), key=lambda photo: (-_fit_to_identity(train, photo), photo))
        reason = "copy" if train.labels[i] == train.labels[j] else "copy_under_another_name"
        exclusion = Exclusion("photo", train.photo_name(gone), reason, score, train.photo_name(kept))
        suspicions.append(Suspicion(exclusion, (ShownPhoto(train, gone), ShownPhoto(train, kept))))
    compared = pairs_within(len(train.rows))
    return Answer("copy", "Photos that occur twice", DUPLICATE_RULE, suspicions, compared, None)


def mislabelled(train: People, stranger: StrangerThreshold) -> Answer:
    """Photos that are far from their identity and nearer another."""
    own, tested = train.own_scores, comparable(train)
    with np.errstate(invalid="ignore"):
        far = np.flatnonzero(tested & (own < stranger.threshold))
    # Only these few are compared with all identities.
    nearest, nearest_scores = nearest_other(train.embeddings[far], train.centres, train.labels[far])
    nearer = np.flatnonzero(nearest_scores > own[far])
    order = nearer[np.argsort(own[far][nearer], kind="stable")]
    suspicions = [_stranger(train, int(far[place]), int(nearest[place])) for place in order]
    return Answer(
        "mislabelled",
        "Photos that do not show the person they are labelled as",
        f"{STRANGER_RULE}; and the centre of another identity is nearer. Shown beside the photo: the most "
        "typical photo of its identity, and the most similar photo of the nearest identity",
        suspicions,
        compared=int(tested.sum()),
        expected_false_alarms=stranger.expected_false_alarms(int(tested.sum())),
    )


def split_identities(train: People, match: MatchThreshold) -> Answer:
    """Identities that are one person; the one with fewer photos is listed."""
    title = "People under two names in the training set"
    return _same_within(train, match, reason="split_identity", title=title)


def split_evaluation(against: People, match: MatchThreshold) -> Answer:
    """The same question for the evaluation set, whose own labels may be wrong."""
    title = "People under two names in the evaluation set"
    return replace(_same_within(against, match, reason="split_evaluation", title=title), excludes=False)


def excluded(answers: Iterable[Answer]) -> list[Exclusion]:
    """What the list holds: one line per photo or identity and reason, with its strongest evidence."""
    kept: defaultdict[tuple[str, str, str], list[Exclusion]] = defaultdict(list)
    for answer in answers:
        for suspicion in answer.suspicions if answer.excludes else []:
            line = suspicion.exclusion
            kept[line.kind, line.name, line.reason].append(line)
    return [lines[0] for lines in kept.values()]


def _same_within(people: People, match: MatchThreshold, *, reason: str, title: str) -> Answer:
    pairs = pairs_from(match.threshold, people.centres)
    compared = pairs_within(len(people.names))
    suspicions = []
    for i, j, score in pairs.rows():
        gone, kept = (i, j) if people.photos[i] < people.photos[j] else (j, i)
        exclusion = Exclusion("identity", people.names[gone], reason, score, people.names[kept])
        suspicions.append(Suspicion(exclusion, _most_similar_photos(people, people, gone, kept)))
    return Answer(reason, title, MATCH_RULE, suspicions, compared, match.expected_false_alarms(compared))


def _shared(train: People, against: People, mine: int, other: int, *, reason: str) -> Suspicion:
    score = float(train.centres[mine] @ against.centres[other])
    exclusion = Exclusion("identity", train.names[mine], reason, score, against.names[other])
    return Suspicion(exclusion, _most_similar_photos(train, against, mine, other))


def _most_similar_photos(left: People, right: People, mine: int, other: int) -> tuple[ShownPhoto, ...]:
    """The photo of each identity that is most similar to the other's centre."""
    return (
        ShownPhoto(left, left.most_similar(mine, right.centres[other])),
        ShownPhoto(right, right.most_similar(other, left.centres[mine])),
    )


def _stranger(train: People, photo: int, nearest: int) -> Suspicion:
    own = int(train.labels[photo])
    typical, similar = (
        train.most_similar(own, train.centres[own]),
        train.most_similar(nearest, train.embeddings[photo]),
    )
    score = float(train.own_scores[photo])
    exclusion = Exclusion("photo", train.photo_name(photo), "mislabelled", score, train.names[nearest])
    return Suspicion(exclusion, tuple(ShownPhoto(train, each) for each in (photo, typical, similar)))


def _fit_to_identity(people: People, photo: int) -> float:
    """The similarity of a photo with its identity's other photos; -1 for one without others."""
    return float(np.nan_to_num(people.own_scores[photo], nan=-1.0))
