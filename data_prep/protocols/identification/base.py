"""What an identification protocol is: photos of a gallery, and photos that are searched in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted, repeated
from data_prep.errors import InputError, few
from data_prep.protocols.spelling import composed
from data_prep.titles import Titled


@dataclass(frozen=True)
class PhotoList:
    """Photos and who they show.

    Attributes:
        photos: keys: a manifest's `photo`, with or without its file ending.
        identities: one per photo; empty where nobody is named.
        field: the list, for messages.
    """

    photos: tuple[str, ...]
    identities: tuple[str, ...]
    field: str

    def __len__(self) -> int:
        return len(self.photos)


class People(NamedTuple):
    """Who the photos of a protocol show, as numbers.

    Attributes:
        gallery: (gallery photos,) 0 or more; each photo without an identity is a person of its own.
        probes: (probes,) the number of the gallery's person of that identity; -1 for a stranger.
        names: (people of the gallery,) their identities, by number; empty for a distractor.
    """

    gallery: NDArray[np.int64]
    probes: NDArray[np.int64]
    names: list[str]


@dataclass(frozen=True)
class IdentificationProtocol(Titled):
    """Who is enrolled, and whose photos are searched.

    A probe is mated if the gallery holds its identity. Gallery photos without an identity are distractors,
    each a person of its own; probes without one show strangers.

    Attributes:
        name: stands beside every number.
        gallery: one or more photos per person.
        probes: photos that are searched.
        sha256: hash of the lists.
        reading: one line saying how the lists were read.
        partial: which part this is; None where it is whole.
    """

    name: str
    gallery: PhotoList
    probes: PhotoList
    sha256: str
    reading: str
    partial: str | None = None

    def __post_init__(self) -> None:
        for photos, what in ((self.gallery, "gallery"), (self.probes, "probe")):
            if not len(photos):
                fix = "Get a complete copy of it."
                raise InputError(photos.field, f"must hold {what} photos", got="none", fix=fix)
            refuse_repeated(photos.photos, field=photos.field)
        refuse_shared(self.gallery.photos, self.probes.photos, field=self.probes.field)

    def people(self) -> People:
        """The photos' people as numbers."""
        named = sorted({composed(name) for name in self.gallery.identities} - {""})
        number = {name: place for place, name in enumerate(named)}
        gallery = np.array([number.get(composed(name), -1) for name in self.gallery.identities], np.int64)
        distractors = np.flatnonzero(gallery < 0)
        gallery[distractors] = len(named) + np.arange(len(distractors))
        probes = np.array([number.get(composed(name), -1) for name in self.probes.identities], np.int64)
        return People(gallery, probes, named + [""] * len(distractors))


class IdentificationFormat(NamedTuple):
    """A kind of folder with the lists of an identification protocol.

    Attributes:
        description: for messages that list the known kinds.
        recognises: whether this is one, by the files in it.
        load: read all of it.
    """

    description: str
    recognises: Callable[[Path], bool]
    load: Callable[[Path], IdentificationProtocol]


def refuse_repeated(photos: Sequence[str], *, field: str) -> None:
    """A photo stands in a list once.

    Raises:
        InputError: one stands there again.
    """
    if again := repeated(photos):
        raise InputError(
            field, "must name each photo once", got=f"{few(again)} again", fix="Leave the repeats out."
        )


def refuse_shared(gallery: Sequence[str], probes: Sequence[str], *, field: str) -> None:
    """No photo is searched in a gallery that holds it: it would find itself.

    Raises:
        InputError: one is in both lists.
    """
    enrolled = set(gallery)
    shared = [photo for photo in probes if photo in enrolled]
    if shared:
        raise InputError(
            field,
            "must not name a photo of the gallery, which would find itself",
            got=f"{counted(len(shared), 'such photo')}: {few(shared)}",
            fix="Leave them out of one of the two lists.",
        )
