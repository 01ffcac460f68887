"""The pixels of a photo that a user names or gives, or one error that says what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.errors import InputError
from data_prep.photos import WAYS_OUT, PhotoError, check_photo, in_words, read_photo, upright_pixels

# A file, a picture by Pillow, or (height, width, 3) uint8 RGB.
Photo = Path | str | Image.Image | NDArray[np.uint8]
_LONGEST = 40  # characters of a value in a message


class ReadPhoto(NamedTuple):
    """A photo that was read.

    Attributes:
        name: its file, or its size where it has none.
        pixels: (height, width, 3) uint8 RGB.
    """

    name: str
    pixels: NDArray[np.uint8]


def photo_pixels(photo: Photo | ReadPhoto) -> ReadPhoto:
    """Read a photo; one that was read already is returned as it is.

    Raises:
        InputError: it is unreadable or no picture.
    """
    if isinstance(photo, ReadPhoto):
        return photo
    if isinstance(photo, np.ndarray):
        _refuse_other_array(photo)
        return ReadPhoto(f"an array of {photo.shape[1]} x {photo.shape[0]} pixels", photo)
    try:
        if isinstance(photo, Image.Image):
            return ReadPhoto(described(photo), upright_pixels(photo))
        if isinstance(photo, str | os.PathLike):
            return ReadPhoto(str(photo), read_photo(Path(photo)))
    except PhotoError as error:
        raise _unreadable(photo, error.reason) from error
    raise InputError(
        "photo",
        "must be one photo: a file, a PIL picture, or an array (height, width, 3), uint8, RGB",
        got=described(photo),
        fix="PIL.Image.open(io.BytesIO(data)) makes a picture of bytes, np.asarray(tensor) an array.",
    )


def refuse_no_photos(*files: Path | None) -> None:
    """Stop at the first file that no photo can be, by how it begins: before anything slow is done for it.

    Args:
        files: None: there is none.

    Raises:
        InputError: as `photo_pixels`; not of a file that begins well and is damaged further on.
    """
    for file in filter(None, files):
        try:
            check_photo(file)
        except PhotoError as error:
            raise _unreadable(file, error.reason) from error


def described(given: object) -> str:
    """A value that is no photo or no crop, in a message: type and shape, or how it begins."""
    if isinstance(given, np.ndarray):
        return f"{given.dtype} {given.shape}"
    if isinstance(given, Image.Image):
        return f"a picture of {given.width} x {given.height} pixels"
    if isinstance(given, list | tuple):
        return f"a {type(given).__name__} of {len(given)}"
    return f"{type(given).__name__} {str(given)[:_LONGEST]!r}"


def _unreadable(photo: str | os.PathLike[str] | Image.Image, reason: str) -> InputError:
    name = described(photo) if isinstance(photo, Image.Image) else str(photo)
    fix = WAYS_OUT.get(reason, "Give another one.")
    got = f"{name}, which {_trouble(photo, reason)}"
    return InputError("photo", "must be a readable picture", got=got, fix=fix)


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
