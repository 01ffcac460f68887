"""Lists for identification of anyone's own photos: a gallery, and probes of its people and of strangers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError
from data_prep.made_lists.people import People


@dataclass(frozen=True)
class MadeGallery:
    """Who is enrolled, and what is searched.

    Attributes:
        gallery: photos with their identities, sorted.
        probes: likewise.
        people: in the gallery.
        strangers: people who are not in it.
        mated: probes that show somebody of the gallery.
    """

    gallery: list[tuple[str, str]]
    probes: list[tuple[str, str]]
    people: int
    strangers: int
    mated: int


def draw_gallery(people: People, *, strangers: float, enrol: int, seed: int) -> MadeGallery:
    """Draw who is enrolled, and with which photos.

    Strangers are drawn alike from people with one photo and from people with several. All of their photos are
    probes. An enrolled person keeps a photo as a probe, unless there is only one: that person is in the
    gallery and never searched.

    Args:
        people: the photos.
        strangers: share of the people who are not enrolled, in [0, 1).
        enrol: photos of a person in the gallery, if there is one more.
        seed: of every draw.

    Raises:
        InputError: nobody would be searched who is in the gallery, or nobody who is not.
    """
    rng = np.random.default_rng([seed])
    counts = people.counts
    several, single = (rng.permutation(np.flatnonzero(mask)) for mask in (counts > 1, counts == 1))
    number = _strangers(several, single, strangers)
    of_several = round(number * len(several) / len(counts))
    of_several = min(max(of_several, number - len(single)), len(several) - 1)
    outside = {*several[:of_several].tolist(), *single[: number - of_several].tolist()}
    gallery: list[tuple[str, str]] = []
    probes: list[tuple[str, str]] = []
    mated = 0
    for person, photos in enumerate(counts.tolist()):
        enrolled = 0 if person in outside else min(enrol, max(1, photos - 1))
        mated += photos - enrolled if person not in outside else 0
        for place, photo in enumerate(rng.permutation(photos).tolist()):
            row = (people.photo(person, photo), people.names[person])
            (gallery if place < enrolled else probes).append(row)
    return MadeGallery(sorted(gallery), sorted(probes), len(counts) - number, number, mated)


def _strangers(several: NDArray[np.int64], single: NDArray[np.int64], share: float) -> int:
    """How many people are not enrolled: one at least, unless nobody is asked for.

    Raises:
        InputError: then nobody of the gallery would be searched.
    """
    people = len(several) + len(single)
    number = max(1, round(share * people)) if share else 0
    most = people - 1 if len(several) else -1
    if number > most:
        largest = math.floor(100 * most / people) / 100  # no more digits than somebody would type
        way_out = f"Use --strangers {largest:g} or less, or align" if largest > 0 else "Align"
        raise InputError(
            "--strangers",
            "must leave a person with two photos for the gallery: one to enrol, one to search",
            got=f"{share:g} of {people:,} people, {len(several):,} of them with two photos or more",
            fix=f"{way_out} photos of more people.",
        )
    return number
