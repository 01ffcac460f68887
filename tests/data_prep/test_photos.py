"""Every kind of file that lies in a photo folder gives upright RGB or a reason."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from data_prep.photos import PhotoError, decode_photo, read_photo

# Four flat corners, so that JPEG keeps them and every orientation differs.
_CORNERS = np.zeros((40, 60, 3), np.uint8)
_CORNERS[:20, :30] = (255, 0, 0)
_CORNERS[:20, 30:] = (0, 255, 0)
_CORNERS[20:, :30] = (0, 0, 255)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format=format, **options)
    return file.getvalue()


def reason_of(data: bytes) -> str:
    with pytest.raises(PhotoError) as failure:
        decode_photo(data)
    return failure.value.reason


def corner_colours(pixels: NDArray[np.uint8]) -> list[list[int]]:
    corners = pixels[5:-5:1][[0, 0, -1, -1], [5, -6, 5, -6]]
    return (corners > 127).astype(int).tolist()


def test_rgb_order_is_kept() -> None:
    np.testing.assert_array_equal(decode_photo(encoded(Image.fromarray(_CORNERS))), _CORNERS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    # Exif 2.3, tag 274: how an upright picture lies in the file under each value.
    stored = {
        1: _CORNERS,
        2: _CORNERS[:, ::-1],
        3: _CORNERS[::-1, ::-1],
        4: _CORNERS[::-1],
        5: _CORNERS.swapaxes(0, 1),
        6: np.rot90(_CORNERS),
        7: _CORNERS[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(_CORNERS, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    pixels = decode_photo(encoded(image, exif=exif.tobytes()))
    np.testing.assert_array_equal(pixels, _CORNERS)


def test_exif_of_a_jpeg_counts_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(_CORNERS)))
    pixels = decode_photo(encoded(stored, "JPEG", quality=95, subsampling=0, exif=exif.tobytes()))
    assert corner_colours(pixels) == corner_colours(_CORNERS)


def test_damaged_exif_does_not_cost_the_photo() -> None:
    data = encoded(Image.fromarray(_CORNERS), "JPEG", exif=b"Exif\0\0MM\0*garbage that is no directory")
    assert decode_photo(data).shape == (40, 60, 3)


def test_grey_becomes_three_equal_channels() -> None:
    ramp = np.arange(40 * 60, dtype=np.uint8).reshape(40, 60)
    pixels = decode_photo(encoded(Image.fromarray(ramp)))
    np.testing.assert_array_equal(pixels, np.repeat(ramp[:, :, None], 3, axis=2))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_cut(format: str) -> None:
    deep = np.linspace(0, 65535, 40 * 60).round().astype(np.uint16).reshape(40, 60)
    pixels = decode_photo(encoded(Image.fromarray(deep), format))
    assert np.abs(pixels[:, :, 0] - deep / 257).max() <= 0.5


@pytest.mark.parametrize(("mode", "format"), [("CMYK", "JPEG"), ("YCbCr", "JPEG"), ("P", "PNG")])
def test_other_colour_spaces(mode: str, format: str) -> None:
    pixels = decode_photo(encoded(Image.fromarray(_CORNERS).convert(mode), format))
    assert corner_colours(pixels) == corner_colours(_CORNERS)


def test_black_and_white() -> None:
    halves = Image.fromarray(np.arange(40)[:, None].repeat(40, 1) >= 20)
    assert np.unique(decode_photo(encoded(halves))[:20]).tolist() == [0]
    assert np.unique(decode_photo(encoded(halves))[20:]).tolist() == [255]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_numbers_without_a_known_white_are_refused(dtype: type[np.generic]) -> None:
    assert reason_of(encoded(Image.fromarray(np.ones((30, 30), dtype)), "TIFF")) == "unsupported_mode"


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "colour key"])
def test_transparency_is_black(kind: str) -> None:
    white = Image.new("RGB", (30, 30), "white")
    options: dict[str, object] = {}
    if kind == "palette":
        white = white.convert("P")
        options["transparency"] = white.getpixel((0, 0))
    elif kind == "colour key":
        options["transparency"] = (255, 255, 255)
    else:
        white.putalpha(0)
        white = white.convert(kind)
    assert decode_photo(encoded(white, **options)).max() == 0


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (30, 30), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_photo(data)[0, 0].tolist() == [255, 0, 0]


def test_files_that_are_no_photos(tmp_path: Path) -> None:
    assert reason_of(b"") == "empty_file"
    assert reason_of(b"To whom it may concern: this is not a photo.") == "not_an_image"
    with pytest.raises(PhotoError, match="unreadable"):
        read_photo(tmp_path / "missing.jpg")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files_never_pass(format: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), format)
    assert reason_of(data[: int(len(data) * share)]) in ("truncated", "damaged", "not_an_image")


def test_a_truncated_jpeg_is_called_so() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG")
    assert reason_of(data[: len(data) // 2]) == "truncated"


def test_flipped_bytes_never_raise_anything_else() -> None:
    rng = np.random.default_rng(1)
    for format in ("JPEG", "PNG", "GIF", "TIFF"):
        data = np.frombuffer(encoded(Image.fromarray(_CORNERS), format), np.uint8)
        for _ in range(60):
            broken = data.copy()
            broken[rng.integers(0, len(data), 12)] = rng.integers(0, 256, 12)
            try:
                pixels = decode_photo(broken.tobytes())
            except PhotoError:
                continue
            assert pixels.dtype == np.uint8
            assert pixels.shape[2:] == (3,)


def test_too_small() -> None:
    assert reason_of(encoded(Image.new("RGB", (19, 300)))) == "too_small"
    assert decode_photo(encoded(Image.new("RGB", (20, 300)))).shape == (300, 20, 3)


@pytest.mark.parametrize("size", [(10_000, 6_000), (20_000, 10_000)])
def test_huge_is_refused_from_the_header(size: tuple[int, int]) -> None:
    # Pillow itself would pass the first and raise on the second; of pixels there are none to decode.
    fields = b"IHDR" + struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(fields))
    assert (
        reason_of(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + fields + crc + b"\0\0\0\0IDAT")
        == "too_large"
    )


def test_huge_is_taken_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.photos.LARGEST_PX", 40 * 60 - 1)
    data = encoded(Image.fromarray(_CORNERS))
    assert reason_of(data) == "too_large"
    assert decode_photo(data, allow_huge=True).shape == _CORNERS.shape


def test_pillows_limit_is_left_as_it_was() -> None:
    limit = Image.MAX_IMAGE_PIXELS
    decode_photo(encoded(Image.fromarray(_CORNERS)))
    assert limit == Image.MAX_IMAGE_PIXELS
