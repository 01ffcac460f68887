"""A visitor's photo -> its faces, of which one is compared. The photo itself is not kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.alignment.base import Template
from data_prep.counted import counted
from data_prep.errors import InputError
from data_prep.photos import WAYS_OUT, PhotoError, in_words, read_photo
from faceverif.app.pictures import Pixels, picture_uri, with_boxes, with_landmarks
from faceverif.app.refusal import Refusal
from faceverif.verification.photo_faces import find_faces

MOST_FACES = 12


@dataclass(frozen=True)
class TakenFace:
    """One face of a photo.

    Attributes:
        crop: (crop_px, crop_px, 3) uint8 RGB, what the model sees.
        picture: the crop with its landmarks, as a data URI.
    """

    crop: Pixels
    picture: str


@dataclass(frozen=True)
class TakenPhoto:
    """What is kept of a photo while the visitor's page is open.

    Attributes:
        name: of the file.
        preview: a small copy with a box around each face, as a data URI.
        faces: best score first, at most `MOST_FACES`.
        found: how many there are.
        chosen: index of the one that is compared.
    """

    name: str
    preview: str
    faces: tuple[TakenFace, ...]
    found: int
    chosen: int

    @property
    def face(self) -> TakenFace:
        """The chosen one."""
        return self.faces[self.chosen]

    def choosing(self, face: int) -> TakenPhoto:
        """The same photo with another face chosen.

        Raises:
            Refusal: there is no such face.
        """
        if not 0 <= face < len(self.faces):
            raise Refusal(f"{self.name} shows {counted(len(self.faces), 'face')}; choose one of them.")
        return replace(self, chosen=face)


def take_photo(path: Path, name: str, template: Template) -> TakenPhoto:
    """Find the faces of a photo.

    Args:
        path: the file.
        name: how the visitor knows it.
        template: of the model's crops.

    Raises:
        Refusal: it is no photo, or shows no face.
    """
    pixels = read_pixels(path, name)
    try:
        seen = find_faces(pixels)
    except InputError as error:
        raise Refusal(
            f"No face was found in {name}. Choose a photo with a face that is upright, not covered and at "
            "least 20 pixels wide."
        ) from error
    # The main face comes first, so that it is among those that are shown.
    order = [seen.main, *(face for face in range(len(seen.faces)) if face != seen.main)][:MOST_FACES]
    faces = tuple(_taken(seen.crop(face, template), seen.landmarks_in_crop(face, template)) for face in order)
    preview = picture_uri(with_boxes(pixels, seen.faces.boxes[order], main=0), lossless=False)
    return TakenPhoto(name, preview, faces, len(seen.faces), 0)


def read_pixels(path: Path, name: str) -> Pixels:
    """The upright pixels of a photo, (height, width, 3) uint8 RGB.

    Raises:
        Refusal: it is none; the sentence says why.
    """
    try:
        return read_photo(path)
    except PhotoError as error:
        way_out = WAYS_OUT.get(error.reason, "Choose another photo.")
        raise Refusal(f"{name} {in_words(error.reason)}. {way_out}") from error


def _taken(crop: Pixels, landmarks: NDArray[np.float64]) -> TakenFace:
    return TakenFace(crop, picture_uri(with_landmarks(crop, landmarks)))
