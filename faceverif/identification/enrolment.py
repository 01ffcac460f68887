"""A gallery of people with names: from a folder of photos, or from an aligned set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.dataset.manifest import MANIFEST_NAME, AlignedDataset, Status
from data_prep.errors import InputError, few
from data_prep.file_hash import file_hash
from data_prep.picture_formats import is_picture_file
from data_prep.progress import progress
from data_prep.sources.base import name_below
from data_prep.sources.people_folders import named_by_folders
from data_prep.walk import walk_files
from faceverif.identification.listed import units_of
from faceverif.identification.search import Gallery, search
from faceverif.models import Embedder
from faceverif.models.embedder import NoEmbeddingError
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.photo_faces import embed_faces, find_face

_OPTION = "--gallery"


class NamedPhoto(NamedTuple):
    """A photo of a gallery: who it shows, and its path below the folder."""

    person: str
    photo: str


class Match(NamedTuple):
    """A person who is similar to a face, with the photo of theirs that is most similar."""

    person: str
    photo: str
    similarity: float


@dataclass(frozen=True)
class Enrolled:
    """The people who can be named.

    Attributes:
        gallery: what is searched; its people are positions in `people`.
        people: their names.
        photos: of the gallery, in the order that it was given in.
        left_out: photos that could not be enrolled, with the reasons.
        hashes: SHA-256 of the photos' files, as far as they are known.
    """

    gallery: Gallery
    people: tuple[str, ...]
    photos: tuple[str, ...]
    left_out: Mapping[NamedPhoto, str]
    hashes: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        named: Sequence[NamedPhoto],
        embeddings: NDArray[np.floating],
        *,
        left_out: Mapping[NamedPhoto, str],
        hashes: Iterable[str] = (),
    ) -> Enrolled:
        """From one or more photos and their embeddings, (photos, dim) of length 1."""
        people = tuple(dict.fromkeys(photo.person for photo in named))
        number = {name: place for place, name in enumerate(people)}
        person = np.array([number[photo.person] for photo in named], np.int64)
        photos = tuple(photo.photo for photo in named)
        return cls(Gallery.of(embeddings, person), people, photos, left_out, frozenset(hashes))

    @property
    def lost(self) -> tuple[str, ...]:
        """People of whom no photo could be enrolled."""
        left, enrolled = dict.fromkeys(photo.person for photo in self.left_out), set(self.people)
        return tuple(person for person in left if person not in enrolled)

    def most_similar(self, embedding: NDArray[np.floating], *, count: int) -> list[Match]:
        """The people who are most similar to a face, best first.

        Args:
            embedding: (dim,) of length 1.
            count: how many people, at most.
        """
        found = search(embedding[None], self.gallery, count=count)
        rows = zip(
            found.person[0].tolist(), found.entry[0].tolist(), found.similarity[0].tolist(), strict=True
        )
        return [
            Match(self.people[person], self.photos[entry], similarity) for person, entry, similarity in rows
        ]


def photos_of_people(folder: Path, *, option: str = _OPTION) -> list[tuple[NamedPhoto, Path]]:
    """The photos below a folder: of a person per folder, as `align` reads it, or of a person per file.

    Args:
        folder: the gallery.
        option: what the user named it with, for the message.

    Raises:
        InputError: splits or groups lie above the people's folders, or a folder cannot be read.
    """
    paths = [path for path in walk_files(folder) if is_picture_file(path)]
    names = [name_below(path, folder) for path in paths]
    people = named_by_folders(names, folder, option=option).identities
    return [
        (NamedPhoto(person or path.stem, name), path)
        for person, name, path in zip(people, names, paths, strict=True)
    ]


def enrol(source: Path, embedder: Embedder, *, flip: bool, admit: Callable[[int], object] = bool) -> Enrolled:
    """The people of a folder of photos, or of an aligned set.

    A photo that cannot be read, shows no face, or whose embedding is zero or not finite is left out. Of
    several faces the centred-largest counts.

    Args:
        source: where they are.
        embedder: the model.
        flip: average each embedding with that of the mirrored crop.
        admit: called with the number of photos enrolled so far; it raises if the gallery is too large.

    Raises:
        InputError: no folder, folders above those of the people, no photo, nobody with a face, or an aligned
            set for another model; or the model gives no face an embedding that can be compared.
    """
    if (source / MANIFEST_NAME).is_file():
        dataset = AlignedDataset.load(source, field=_OPTION)
        admit(len(dataset.with_status(Status.ALIGNED)))
        return _enrol_aligned(dataset, embedder, flip=flip)
    if not source.is_dir():
        fix = "Name a folder with a folder per person, or with a photo per person."
        raise InputError(_OPTION, "must be a folder of photos, or an aligned set", got=source, fix=fix)
    template, photos = embedder.spec.checked_template(), photos_of_people(source)
    named, embeddings, left_out, hashes = [], [], {}, []
    broken: NoEmbeddingError | None = None
    with progress("enrol", total=len(photos), unit="photos") as advance:
        for photo, path in photos:
            try:
                # One by one, as the photo that is searched: in a batch the rounding depends on the others.
                embedding = embed_faces(embedder, [find_face(path, template)], flip=flip)[0]
            except InputError as error:
                left_out[photo] = str(error)
                broken = broken or (error if isinstance(error, NoEmbeddingError) else None)
            else:
                embeddings.append(embedding)
                named.append(photo)
                hashes.append(file_hash(path))
                admit(len(named))
            advance(1, "")
    if broken is not None and not named:
        raise broken  # the model gives no face an embedding
    _refuse_nobody(source, named, len(photos))
    return Enrolled.of(named, np.stack(embeddings), left_out=left_out, hashes=hashes)


def _enrol_aligned(dataset: AlignedDataset, embedder: Embedder, *, flip: bool) -> Enrolled:
    rows, status = dataset.with_status(Status.ALIGNED), dataset.column("status")
    _refuse_nobody(dataset.root, rows, len(dataset))
    embedded = EmbeddedPhotos(embedder.or_nan(), dataset, flip=flip)
    others = np.flatnonzero(status != Status.ALIGNED.value)
    left_out = dict(zip(_named(dataset, others), dataset.column("reason")[others].tolist(), strict=True))
    unit, there = units_of(embedded, rows)
    left_out |= dict.fromkeys(_named(dataset, rows[~there]), "no_embedding")
    hashes = {sha256 for sha256 in dataset.column("sha256")[rows] if sha256 is not None}
    return Enrolled.of(_named(dataset, rows[there]), unit, left_out=left_out, hashes=hashes)


def _named(dataset: AlignedDataset, rows: NDArray[np.int64]) -> list[NamedPhoto]:
    identities = dataset.column("identity")[rows]
    return [
        NamedPhoto(identity or Path(photo).stem, photo)
        for identity, photo in zip(identities, dataset.photos(rows), strict=True)
    ]


def _refuse_nobody(source: Path, enrolled: Sequence[object] | NDArray[np.int64], photos: int) -> None:
    if not len(enrolled):
        found = f"{counted(photos, 'photo')} in {source}, none with a face"
        fix = "Put a folder with photos there for each person, or a photo named after each."
        raise InputError(
            _OPTION, "must show at least one face", got=found if photos else f"no photo in {source}", fix=fix
        )


def left_out_note(enrolled: Enrolled) -> list[str]:
    """What is said of photos that could not be enrolled, and of people of whom no photo is left."""
    if not enrolled.left_out:
        return []
    notes = [
        f"{counted(len(enrolled.left_out), 'gallery photo')} left out, without a face, not readable or "
        f"without an embedding: {few([photo.photo for photo in enrolled.left_out])}"
    ]
    if enrolled.lost:
        notes.append(
            f"not in the gallery, because no photo of theirs could be enrolled: {', '.join(enrolled.lost)}"
        )
    return notes
