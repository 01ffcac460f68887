"""The faces of a photo, and one of them cut in a template, for `compare`, the app and from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.alignment.base import Template
from data_prep.detection.faces import Faces, centred_largest
from data_prep.detection.second_pass import TwoPassDetector
from data_prep.errors import InputError
from data_prep.photos import WAYS_OUT, PhotoError, in_words, read_photo, upright_pixels
from faceverif.models.embedder import Embedder, ZeroEmbeddingError, naming
from faceverif.verification.embeddings import embed_crops
from faceverif.verification.scoring import normalised

# A file, a picture by Pillow, or (height, width, 3) uint8 RGB.
Photo = Path | str | Image.Image | NDArray[np.uint8]
_LONGEST = 40  # characters of a value in a message


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


def refuse_unreadable(*photos: Photo | None) -> None:
    """Stop at the first photo that is unreadable or no picture, before work is done for the others.

    Args:
        photos: files, or pixels; None: there is none.

    Raises:
        InputError: one cannot be read.
    """
    for photo in photos:
        if photo is not None:
            _named_pixels(photo)


def find_faces(photo: Photo) -> PhotoFaces:
    """All faces of a photo.

    Args:
        photo: a file, or pixels.

    Raises:
        InputError: the photo is unreadable or no picture.
        NoFaceError: it shows no face.
    """
    name, pixels = _named_pixels(photo)
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


def find_face(photo: Photo, template: Template) -> FoundFace:
    """The centred-largest face of a photo, cut in a template.

    Args:
        photo: a file, or pixels.
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


def described(given: object) -> str:
    """A value that is no photo or no crop, in a message: type and shape, or how it begins."""
    if isinstance(given, np.ndarray):
        return f"{given.dtype} {given.shape}"
    if isinstance(given, Image.Image):
        return f"a picture of {given.width} x {given.height} pixels"
    if isinstance(given, list | tuple):
        return f"a {type(given).__name__} of {len(given)}"
    return f"{type(given).__name__} {str(given)[:_LONGEST]!r}"


def _named_pixels(photo: Photo) -> tuple[str, NDArray[np.uint8]]:
    if isinstance(photo, np.ndarray):
        _refuse_other_array(photo)
        return f"an array of {photo.shape[1]} x {photo.shape[0]} pixels", photo
    name = described(photo) if isinstance(photo, Image.Image) else str(photo)
    try:
        if isinstance(photo, Image.Image):
            return name, upright_pixels(photo)
        if isinstance(photo, str | os.PathLike):
            return name, read_photo(Path(photo))
    except PhotoError as error:
        fix = WAYS_OUT.get(error.reason, "Give another one.")
        got = f"{name}, which {_trouble(photo, error.reason)}"
        raise InputError("photo", "must be a readable picture", got=got, fix=fix) from error
    raise InputError(
        "photo",
        "must be one photo: a file, a PIL picture, or an array (height, width, 3), uint8, RGB",
        got=described(photo),
        fix="PIL.Image.open(io.BytesIO(data)) makes a picture of bytes, np.asarray(tensor) an array.",
    )


def _refuse_other_array(photo: NDArray[np.uint8]) -> None:
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        raise InputError(
            "photo",
            "as an array it must be (height, width, 3), uint8, RGB",
            got=described(photo),
            fix="Convert it, or give the path of a file.",
        )


def _trouble(photo: str | os.PathLike[str] | Image.Image, reason: str) -> str:
    """Why a photo gives no pixels, as the rest of a sentence whose subject it is."""
    if not isinstance(photo, Image.Image):
        path = Path(photo)
        if path.is_dir():
            return "is a folder"
        if not path.exists():
            return "does not exist"
    return in_words(reason)
