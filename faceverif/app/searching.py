"""Who is it: a photo against the people of a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.errors import InputError
from faceverif.app.matcher import Decision, Matcher
from faceverif.app.photos import TakenPhoto
from faceverif.app.pictures import picture_uri
from faceverif.app.refusal import Refusal
from faceverif.identification.enrolment import Enrolled, NamedPhoto, photos_of_people
from faceverif.identification.naming_threshold import fpir_bound
from faceverif.verification.photo_faces import find_face

MOST_PHOTOS = 2000
SHOWN = 5

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Member:
    """A photo of the gallery.

    Attributes:
        person: its folder's name, or the file's where the folder is the gallery itself.
        photo: its path below the gallery.
        picture: the crop, as a data URI.
        embedding: (dim,) of length 1.
    """

    person: str
    photo: str
    picture: str
    embedding: NDArray[np.float32]


@dataclass(frozen=True)
class Gallery:
    """The people of a folder.

    Attributes:
        folder: where they are.
        members: their photos.
        left_out: photos without a face, or that cannot be read.
    """

    folder: Path
    members: tuple[Member, ...]
    left_out: tuple[str, ...]

    @cached_property
    def enrolled(self) -> Enrolled:
        """What is searched."""
        named = [NamedPhoto(member.person, member.photo) for member in self.members]
        return Enrolled.of(named, np.stack([member.embedding for member in self.members]), left_out={})

    @property
    def people(self) -> int:
        """How many there are."""
        return len(self.enrolled.people)


@dataclass(frozen=True)
class Found:
    """The people who are most alike, best first.

    Attributes:
        name: of the photo that was searched.
        people: one member per person, with the similarity.
        gallery: where they were searched.
    """

    name: str
    people: tuple[tuple[Member, float], ...]
    gallery: Gallery

    def decisions(self, matcher: Matcher, point: int) -> list[tuple[Member, Decision]]:
        """What a threshold makes of each."""
        return [(member, matcher.decide(similarity, point)) for member, similarity in self.people]

    def bound_for_strangers(self, far: float) -> float:
        """The largest share of searches for strangers that name somebody, at a FAR of each comparison.

        Args:
            far: the rate that was asked for. The one measured on the calibration's pairs may be 0, by chance.
        """
        return fpir_bound(len(self.gallery.members), far)


def open_gallery(folder: str, matcher: Matcher, *, progress: Progress) -> Gallery:
    """Find and embed the main face of every photo of a folder.

    Args:
        folder: with a folder per person, or with a photo per person.
        matcher: the model.
        progress: is told how many photos of how many are done.

    Raises:
        Refusal: no such folder, no photos or too many, or none shows a face.
    """
    root = Path(folder).expanduser()
    if not folder.strip() or not root.is_dir():
        raise Refusal(f"There is no folder {folder!r}. Give the path of a folder with photos.")
    photos = photos_of_people(root, option="folder")
    if not photos:
        raise Refusal(f"{root} holds no photos.")
    if len(photos) > MOST_PHOTOS:
        raise Refusal(
            f"{root} holds {counted(len(photos), 'photo')}; the page takes at most {MOST_PHOTOS:,}."
        )
    members, left_out = [], []
    for done, (named, path) in enumerate(photos):
        progress(done, len(photos))
        try:
            members.append(_member(named, path, matcher))
        except InputError:
            left_out.append(named.photo)
    if not members:
        raise Refusal(f"No face was found on any of the {counted(len(photos), 'photo')} in {root}.")
    return Gallery(root, tuple(members), tuple(left_out))


def search(gallery: Gallery | None, photo: TakenPhoto | None, matcher: Matcher) -> Found:
    """The people of a gallery who are most like the chosen face of a photo.

    Raises:
        Refusal: no gallery was opened, or no photo given.
    """
    if gallery is None:
        raise Refusal("Open a gallery first: a folder with photos of people.")
    if photo is None:
        raise Refusal("Give a first photo: its person is looked for in the gallery.")
    found = gallery.enrolled.most_similar(matcher.embed(photo.face.crop), count=SHOWN)
    members = {member.photo: member for member in gallery.members}
    return Found(photo.name, tuple((members[match.photo], match.similarity) for match in found), gallery)


def _member(named: NamedPhoto, path: Path, matcher: Matcher) -> Member:
    crop = find_face(path, matcher.template).crop
    return Member(named.person, named.photo, picture_uri(crop), matcher.embed(crop))
