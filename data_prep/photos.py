"""One photo file -> upright RGB pixels, or a stated reason why not."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

SMALLEST_SIDE_PX = 20
LARGEST_PX = 50_000_000

_EXIF_ORIENTATION = 0x0112


class PhotoError(Exception):
    """A file that gives no pixels.

    Args:
        reason: one stable word for manifests: `unreadable`, `empty_file`, `not_an_image`, `too_small`,
            `too_large`, `truncated`, `damaged` or `unsupported_mode`.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def read_photo(path: Path, *, allow_huge: bool = False) -> NDArray[np.uint8]:
    """The pixels of a photo file, turned as its EXIF orientation says.

    Args:
        path: a file in any format that Pillow reads; of an animation the first frame counts.
        allow_huge: take more than 50 megapixels too.

    Returns:
        (height, width, 3) RGB; what is transparent is black, as everything beyond a photo's border is.

    Raises:
        PhotoError: with the reason.
    """
    return decode_photo(read_bytes(path), allow_huge=allow_huge)


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        PhotoError: `unreadable`: a dangling link, no permission, a failing disk.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise PhotoError("unreadable") from error


def decode_photo(data: bytes, *, allow_huge: bool = False) -> NDArray[np.uint8]:
    """What `read_photo` does, for a file that is in memory already."""
    if not data:
        raise PhotoError("empty_file")
    with _quiet_pillow():
        try:
            image = Image.open(io.BytesIO(data))
        except UnidentifiedImageError as error:
            raise PhotoError("not_an_image") from error
        except Exception as error:  # a decoder may raise anything on bytes that nobody ever encoded
            raise PhotoError("damaged") from error
        _check_size(image, allow_huge=allow_huge)
        try:
            image.load()
        except Exception as error:
            raise PhotoError("truncated" if "truncated" in str(error) else "damaged") from error
        return _upright(_to_rgb(image), _orientation(image))


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    # Pillow has a size limit of its own, which warns or raises; ours is checked from the header instead.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _check_size(image: Image.Image, *, allow_huge: bool) -> None:
    if min(image.size) < SMALLEST_SIDE_PX:
        raise PhotoError("too_small")
    if image.width * image.height > LARGEST_PX and not allow_huge:
        raise PhotoError("too_large")


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint32)
        grey = ((deep * 255 + 32767) // 65535).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):  # 32 bits a pixel, and nothing says which number is white
        raise PhotoError("unsupported_mode")
    try:
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), rgba)
        return np.array(image.convert("RGB"))
    except ValueError as error:  # a colour space without a conversion
        raise PhotoError("unsupported_mode") from error


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
