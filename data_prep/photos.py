"""One photo file -> upright RGB pixels, or a stated reason why not."""

from __future__ import annotations

import stat
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from data_prep.picture_formats import is_other_picture, opened, quiet_pillow

SMALLEST_SIDE_PX = 20
LARGEST_PX = 50_000_000
# With `allow_huge`; 1.5 GB once it is decoded, and several times that in a detector.
_LARGEST_HUGE_PX = 500_000_000
_LARGEST_BYTES = 2**30

OTHER_FORMAT = "unsupported_format"  # the reason for HEIC, which telephones write, and its like
# Reason -> what helps against it, where something does.
WAYS_OUT = {
    OTHER_FORMAT: "HEIC, PDF and the like are not read: save the photo as JPEG or PNG.",
    "unsupported_mode": "Save the photo as JPEG or PNG, with 8 bits per colour.",
    "too_small": "Choose a larger photo.",
    "too_large": "Make it smaller, or cut the face out.",
}

_IN_WORDS = {
    "empty_file": "is an empty file",
    "not_an_image": "is not a picture",
    OTHER_FORMAT: "is a picture of a kind that faceverif does not read",
    "unsupported_mode": "is a picture of a kind that faceverif does not read",
    "too_small": f"is less than {SMALLEST_SIDE_PX} pixels wide or high",
    "too_large": f"has more than {LARGEST_PX // 1_000_000} megapixels",
    "too_many_bytes": "is larger than 1 GB",
    "truncated": "ends too early: only a part of it was copied",
    "damaged": "is damaged",
}

_EXIF_ORIENTATION = 0x0112
_TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
UNREADABLE = "unreadable"  # the reason where the system gives no bytes: it may give them later
_DEPTHS = (8, 10, 12, 14, 16)  # bits of the cameras and scanners that write 16 bits per value
_DARK = 64  # of 255: values of 14 bits or fewer come no higher when they are taken for 16
_SEEN = 0.01  # the least share of a picture that its transparency must leave


def other_format_advice(reasons: Container[str]) -> list[str]:
    """What helps where photos are of another format, as a line after them; nothing where none is."""
    return [f"{OTHER_FORMAT}: {WAYS_OUT[OTHER_FORMAT]}"] if OTHER_FORMAT in reasons else []


def in_words(reason: str) -> str:
    """The reason of a `PhotoError` as the rest of a sentence whose subject is the photo."""
    return _IN_WORDS.get(reason, "could not be read")


class PhotoError(Exception):
    """A file that gives no pixels.

    Args:
        reason: one stable word for manifests: `unreadable`, `empty_file`, `not_an_image`,
            `unsupported_format`, `too_small`, `too_large`, `too_many_bytes`, `truncated`, `damaged` or
            `unsupported_mode`.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def read_photo(path: Path) -> NDArray[np.uint8]:
    """The pixels of a photo file, turned as its EXIF orientation says.

    Args:
        path: a file in one of `picture_formats.FORMATS`; of an animation the first frame counts.

    Returns:
        (height, width, 3) RGB. What is transparent is black, as everything beyond a photo's border is; a
        picture that is transparent everywhere is taken as other programs show it, without transparency.

    Raises:
        PhotoError: with the reason.
    """
    return decode_photo(read_bytes(path))


def check_photo(path: Path) -> None:
    """Open a photo file without decoding it: what `read_photo` refuses by how the file begins.

    Raises:
        PhotoError: with the reason.
    """
    _check_size(_opened(read_bytes(path)), allow_huge=False)


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        PhotoError: `unreadable` for a dangling link, a failing disk, a named pipe or a device, or without the
            permission; `too_many_bytes` over 1 GiB.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # to open a named pipe may never return
            raise PhotoError(UNREADABLE)
        if status.st_size > _LARGEST_BYTES:
            raise PhotoError("too_many_bytes")
        return path.read_bytes()
    except OSError as error:
        raise PhotoError(UNREADABLE) from error


def decode_photo(data: bytes, *, allow_huge: bool = False) -> NDArray[np.uint8]:
    """What `read_photo` does, for a file that is in memory already.

    Args:
        data: the file's content.
        allow_huge: take more than 50 megapixels too, up to 500.

    Returns:
        (height, width, 3) RGB.

    Raises:
        PhotoError: with the reason.
    """
    return upright_pixels(_opened(data), data=data, allow_huge=allow_huge)


def upright_pixels(image: Image.Image, *, data: bytes = b"", allow_huge: bool = False) -> NDArray[np.uint8]:
    """What `read_photo` gives, of a picture that Pillow has opened.

    Args:
        image: the picture.
        data: its file: Pillow keeps the upper 8 of 16 bits, which leaves a colour picture with fewer bits
            dark, so the others are read from here. Without it, such a picture stays dark.
        allow_huge: as for `decode_photo`.

    Raises:
        PhotoError: with the reason.
    """
    _check_size(image, allow_huge=allow_huge)
    with quiet_pillow():
        try:
            deep = bool(data) and _is_deep(image)
            image.load()
        except Exception as error:
            raise PhotoError("truncated" if "truncated" in str(error) else "damaged") from error
        pixels = _to_rgb(image)
        if deep and pixels.max() <= _DARK:
            pixels = _from_few_bits(data, pixels)
        return _upright(pixels, _orientation(image))


def _opened(data: bytes) -> Image.Image:
    if not data:
        raise PhotoError("empty_file")
    try:
        return opened(data)
    except UnidentifiedImageError as error:
        raise PhotoError(OTHER_FORMAT if is_other_picture(data) else "not_an_image") from error
    except Exception as error:  # a decoder may raise anything on bytes that nobody ever encoded
        raise PhotoError("damaged") from error


def _check_size(image: Image.Image, *, allow_huge: bool) -> None:
    if min(image.size) < SMALLEST_SIDE_PX:
        raise PhotoError("too_small")
    if image.width * image.height > (_LARGEST_HUGE_PX if allow_huge else LARGEST_PX):
        raise PhotoError("too_large")


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return _deep_grey(image)
    if image.mode in ("I", "F"):  # 32 bits a pixel, and nothing says which number is white
        raise PhotoError("unsupported_mode")
    try:
        if image.has_transparency_data:
            return _on_black(image.convert("RGBA"))
        return np.array(image.convert("RGB"))
    except ValueError as error:  # a colour space without a conversion
        raise PhotoError("unsupported_mode") from error


def _on_black(image: Image.Image) -> NDArray[np.uint8]:
    """RGBA over black; transparency that leaves nothing, or nothing opaque, is the writer's mistake."""
    alpha = np.asarray(image.getchannel("A"))
    if np.count_nonzero(alpha) < _SEEN * alpha.size:
        return np.array(image.convert("RGB"))
    most = int(alpha.max())
    if most < 255:
        image.putalpha(Image.fromarray((alpha.astype(np.uint16) * 255 // most).astype(np.uint8)))
    return np.array(Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert("RGB"))


# --- 16 bits per value


def _deep_grey(image: Image.Image) -> NDArray[np.uint8]:
    grey = _scaled(np.asarray(image).astype(np.uint16))
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow turns 8 bits round, but not 16
        grey = 255 - grey
    return np.repeat(grey[:, :, None], 3, axis=2)


def _is_deep(image: Image.Image) -> bool:
    """Whether a picture that Pillow makes 8 bits of has 16 in the file: its decoder's arguments say so."""
    colour = image.mode in ("RGB", "RGBA", "LA")
    return colour and (
        image.format == "PPM" or any(";16" in str(tile) for tile in getattr(image, "tile", ()))
    )


def _from_few_bits(data: bytes, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pixels of a colour picture with fewer bits than its 16, of which Pillow keeps only the upper 8."""
    import cv2

    deep = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16 or deep.shape[:2] != pixels.shape[:2] or deep.ndim != 3:
        return pixels
    return np.ascontiguousarray(_scaled(deep[:, :, :3].astype(np.uint16))[:, :, ::-1])


def _scaled(deep: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """16-bit values as 8 bits; white is the largest value of the fewest bits that hold all of them."""
    most = int(deep.max())
    white = next(2**bits - 1 for bits in _DEPTHS if most < 2**bits)
    return ((deep.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


# --- orientation


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing about the pixels, which are fine
        return 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    # Exif 2.3, tag 274: 2 and 4 are mirrored, 3 stands on its head, 5 to 8 lie on their side.
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
