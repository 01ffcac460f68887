"""The faces of a photo, and one of them cut in a template, for `compare`, the app and from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from data_prep.alignment.base import Template
from data_prep.detection.faces import Faces, centred_largest
from data_prep.detection.second_pass import TwoPassDetector
from data_prep.errors import InputError
from faceverif.models.embedder import Embedder, ZeroEmbeddingError, naming
from faceverif.verification.embeddings import embed_crops
from faceverif.verification.photo_pixels import Photo, ReadPhoto, photo_pixels
from faceverif.verification.scoring import normalised


class NoFaceError(InputError):
    """The photo can be read, and shows no face."""


@dataclass(frozen=True)
class FoundFace:
    """The face that was taken from a photo.

    Attributes:
        photo: its file, or its size where it has none.
        crop: (crop_px, crop_px, 3) uint8 RGB, in the template that was asked for.
        faces: how many the photo shows.
    """

    photo: str
    crop: NDArray[np.uint8]
    faces: int


@dataclass(frozen=True)
class PhotoFaces:
    """Every face of a photo, at least one.

    Attributes:
        photo: its file, or its size where it has none.
        pixels: (height, width, 3) uint8 RGB.
        faces: best score first.
        main: index of the centred-largest one.
    """

    photo: str
    pixels: NDArray[np.uint8]
    faces: Faces
    main: int

    def crop(self, face: int, template: Template) -> NDArray[np.uint8]:
        """(crop_px, crop_px, 3) uint8 RGB, one face in a template."""
        return template.cut(self.pixels, box=self.faces.boxes[face], landmarks=self.faces.landmarks[face])

    def landmarks_in_crop(self, face: int, template: Template) -> NDArray[np.float64]:
        """(5, 2) where a face's landmarks lie in its crop, (x, y) in crop pixels."""
        box, landmarks = self.faces.boxes[face], self.faces.landmarks[face]
        height, width = self.pixels.shape[:2]
        return template.landmarks_in_crop(landmarks, box=box, photo_size=(height, width))


def find_faces(photo: Photo | ReadPhoto) -> PhotoFaces:
    """All faces of a photo.

    Args:
        photo: a file, pixels, or what was read of them.

    Raises:
        InputError: the photo is unreadable or no picture.
        NoFaceError: it shows no face.
    """
    name, pixels = photo_pixels(photo)
    faces = _detector().detect([pixels])[0].faces
    height, width = pixels.shape[:2]
    main = centred_largest(faces, width=width, height=height)
    if main is None:
        raise NoFaceError(
            "photo",
            "must show a face",
            got=f"{name}, where none was found",
            fix="Give a photo with a face of at least 20 pixels, upright and not covered.",
        )
    return PhotoFaces(name, pixels, faces, main)


def find_face(photo: Photo | ReadPhoto, template: Template) -> FoundFace:
    """The centred-largest face of a photo, cut in a template.

    Args:
        photo: as for `find_faces`.
        template: how it is cut.

    Raises:
        InputError: the photo is unreadable, no picture, or shows no face.
    """
    found = find_faces(photo)
    return FoundFace(found.photo, found.crop(found.main, template), len(found.faces))


def embed_faces(embedder: Embedder, faces: Sequence[FoundFace], *, flip: bool) -> NDArray[np.float64]:
    """Embeddings of length 1, (faces, dim).

    Args:
        embedder: made for the faces' template.
        faces: one or more.
        flip: average with the mirrored crop: see `FLIP_RULE`.

    Raises:
        NoEmbeddingError: an embedding is zero or not finite; it names the photo.
    """
    photos = [face.photo for face in faces]
    with naming(photos):
        unit = normalised(embed_crops(embedder, np.stack([face.crop for face in faces]), flip=flip))
    zero = np.flatnonzero(~unit.any(axis=1))
    if len(zero):
        raise ZeroEmbeddingError(embedder, zero, photos)
    return unit


@cache
def _detector() -> TwoPassDetector:
    """With its default settings; its networks are loaded once."""
    return TwoPassDetector()
