"""Which files are pictures, and what size they claim, found before anything is decoded."""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock

from PIL import Image

# What photos come in. Pillow knows more formats; some of them start a program (EPS: Ghostscript) or decode
# before their size is known (ICO).
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")

_ENDINGS = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".avif", ".heic", ".heif"),
}
JPEG_MAGIC = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_OPENINGS = (
    *(_PNG, JPEG_MAGIC, b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    *(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
)
_OPENING_BYTES = 32
_OTHER_OPENINGS = (b"%!PS", b"\xc5\xd0\xd3\xc6", b"%PDF", b"8BPS", b"\0\0\1\0", b"icns", b"<svg", b"<?xml")
_OTHER_BRANDS = (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1", b"ftypcrx")
# Frames that say the size: all of C0 to CF except Huffman tables, a reserved one and arithmetic tables.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_PICTURE = frozenset({0xD9, 0xDA})  # the end, and the beginning of the coded pixels: no frame follows
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a segment to jump over
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")


def is_picture_file(path: Path) -> bool:
    """Whether a file is meant as a picture: by its ending, else by its first bytes.

    A text that is called `.jpg` is meant as one, and is broken.
    """
    if is_picture_name(path.name):
        return True
    try:
        with path.open("rb") as file:
            return opens_like_a_picture(file.read(_OPENING_BYTES))
    except OSError:
        return False


def is_picture_name(name: str) -> bool:
    """Whether a name ends as those of pictures do."""
    return name[name.rfind(".") :].lower() in _ENDINGS


def opens_like_a_picture(opening: bytes) -> bool:
    """Whether these are the first bytes, 12 or more, of a picture in one of the accepted formats."""
    webp = opening[:4] == b"RIFF" and opening[8:12] == b"WEBP"
    bitmap = opening[:2] == b"BM" and opening[6:10] == bytes(4)
    return webp or bitmap or opening[4:12] == b"ftypavif" or opening.startswith(_OPENINGS)


def is_other_picture(data: bytes) -> bool:
    """Whether a file is a picture in a format that is not accepted: HEIC, PostScript, icons, PSD, SVG."""
    return data.startswith(_OTHER_OPENINGS) or data[4:12].startswith(_OTHER_BRANDS)


def opened(data: bytes) -> Image.Image:
    """A picture whose header is read, and nothing else.

    Raises:
        Exception: of any type; `PIL.UnidentifiedImageError` for what is no picture of an accepted format.
    """
    with quiet_pillow():
        return Image.open(io.BytesIO(data), formats=FORMATS)


def declared_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in px as a picture's header says, before it is decoded; None where it says none.

    JPEG and PNG are read here, since every crop of a training passes through: Pillow takes 30 times as long.
    """
    if data.startswith(_PNG) and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    if data.startswith(JPEG_MAGIC):
        return _jpeg_size(data)
    try:
        return opened(data).size
    except Exception:  # a decoder may raise anything on bytes that nobody ever encoded
        return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """The size in the first frame header, ITU-T T.81, B.2.2.

    Decoders pass over stray bytes between two segments, and so does this.
    """
    place = 2
    while (found := _JPEG_MARKER.search(data, place)) and found.end() + 7 <= len(data):
        marker, place = found[1][0], found.end()
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 3)
            return width, height
        if marker in _JPEG_PICTURE:
            return None
        if marker not in _JPEG_ALONE:
            place += struct.unpack_from(">H", data, place)[0]
    return None


class _QuietPillow:
    """Pillow without its warnings and its own limit on sizes; ours is checked from the header instead.

    Both are settings of the whole process, and photos are read in threads: the first reader changes them, and
    the last one that leaves sets them back. A pair of save and restore in each thread would leave behind what
    another thread had set.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._readers = 0
        self._before = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._readers == 0:
                self._change()
            self._readers += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                if self._readers == 0:
                    self._before.close()

    def _change(self) -> None:
        self._before.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
        Image.MAX_IMAGE_PIXELS = None
        self._before.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")


quiet_pillow = _QuietPillow()
