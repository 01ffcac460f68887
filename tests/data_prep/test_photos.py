"""Every kind of file that lies in a photo folder gives upright RGB or a reason."""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from data_prep.dataset.crops import decode_crop
from data_prep.photos import OTHER_FORMAT, WAYS_OUT, PhotoError, decode_photo, read_photo
from data_prep.picture_formats import declared_size, quiet_pillow

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


@pytest.mark.parametrize("exif", [b"MM\0*garbage that is no directory", b"garbage without a header"])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])  # Pillow forgives more in a JPEG
def test_damaged_exif_does_not_cost_the_photo(format: str, exif: bytes) -> None:
    data = encoded(Image.fromarray(_CORNERS), format, exif=b"Exif\0\0" + exif)
    assert corner_colours(decode_photo(data)) == corner_colours(_CORNERS)


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


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize(
    ("ending", "channels"),
    [(".png", 1), (".png", 3), (".png", 4), (".tiff", 1), (".tiff", 3), (".pgm", 1), (".ppm", 3)],
)
def test_few_bits_in_16_are_not_black(bits: int, channels: int, ending: str) -> None:
    deep = np.random.default_rng(0).integers(0, 2**bits, (40, 60, channels), dtype=np.uint16)
    deep[0, 0] = 2**bits - 1
    deep[..., 3:] = 65535
    pixels = decode_photo(cv2.imencode(ending, deep.squeeze())[1].tobytes())
    expected = deep[..., :3][..., ::-1] * (255 / (2**bits - 1))
    assert np.abs(pixels - expected).max() <= 0.51


def test_a_16_bit_negative_is_turned_round() -> None:
    deep = Image.fromarray(np.full((30, 30), 65535, np.uint16))
    assert decode_photo(encoded(deep, "TIFF", tiffinfo={262: 0})).max() == 0


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "colour key"])
def test_transparency_is_black(kind: str) -> None:
    picture = Image.new("RGB", (30, 30), "white")
    picture.paste((153, 153, 153), (0, 0, 30, 15))  # one of the palette's
    alpha = Image.new("L", (30, 30), 0)
    alpha.paste(255, (0, 0, 30, 15))
    options: dict[str, object] = {}
    if kind == "palette":
        picture = picture.convert("P")
        options["transparency"] = picture.getpixel((0, 29))
    elif kind == "colour key":
        options["transparency"] = (255, 255, 255)
    else:
        picture.putalpha(alpha)
        picture = picture.convert(kind)
    pixels = decode_photo(encoded(picture, **options))
    assert (pixels[:15].min(), pixels[:15].max(), pixels[15:].max()) == (153, 153, 0)


@pytest.mark.parametrize("alpha", [0, 1, 128])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_that_leaves_nothing_is_passed_over(alpha: int, mode: str) -> None:
    picture = Image.new("L", (30, 30), 200).convert("RGB")
    picture.putalpha(alpha)
    assert np.abs(decode_photo(encoded(picture.convert(mode))).astype(int) - 200).max() <= 1
    picture.putpixel((3, 3), (200, 200, 200, 255))  # nor does one opaque pixel make a picture
    if alpha == 0:
        assert decode_photo(encoded(picture.convert(mode))).min() == 200


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (30, 30), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_photo(data)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("form", ["MPO", "WEBP", "AVIF", "JPEG2000", "PPM"])
def test_what_cameras_and_the_web_write(form: str) -> None:
    pixels = decode_photo(encoded(Image.fromarray(_CORNERS), form))
    assert corner_colours(pixels) == corner_colours(_CORNERS)
    assert declared_size(encoded(Image.fromarray(_CORNERS), form)) == (60, 40)


@pytest.mark.parametrize("form", ["ICO", "EPS", "PDF", "ICNS", "TGA", "PCX"])
def test_other_formats_are_refused_before_pillow_touches_them(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(Image.new("RGB", (64, 64)), form)
    monkeypatch.setattr(subprocess, "Popen", None)  # PostScript would start a program
    known = form not in ("TGA", "PCX")  # whose openings say too little
    assert reason_of(data) == ("unsupported_format" if known else "not_an_image")
    assert declared_size(data) is None


HEIC = b"\0\0\0\x18ftypheic" + bytes(80)


def test_photos_of_telephones_are_named_for_what_they_are() -> None:
    assert reason_of(HEIC) == OTHER_FORMAT


def test_every_way_out_belongs_to_a_reason() -> None:
    assert set(WAYS_OUT) <= set(re.findall(r"`(\w+)`", PhotoError.__doc__ or ""))


def bomb(side: int = 40_000) -> bytes:
    """A PNG of some bytes that claims gigabytes."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(9))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def test_what_claims_gigabytes_is_refused_by_its_header() -> None:
    assert declared_size(bomb()) == (40_000, 40_000)
    assert reason_of(bomb()) == "too_large"
    with pytest.raises(PhotoError, match="too_large"):
        decode_photo(bomb(), allow_huge=True)
    assert decode_crop(bomb(), 112) is None


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_says_its_size_in_its_frame_header(progressive: bool) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description that a reader must jump over" * 50
    data = encoded(Image.new("RGB", (60, 40)), "JPEG", exif=exif.tobytes(), progressive=progressive)
    assert declared_size(data) == (60, 40)
    assert all(declared_size(data[:length]) in (None, (60, 40)) for length in range(len(data)))


def with_stray_bytes(jpeg: bytes, stray: bytes) -> bytes:
    """The same picture with bytes before its second segment, which decoders pass over."""
    place = 4 + struct.unpack_from(">H", jpeg, 4)[0]
    assert jpeg[place] == 0xFF
    return jpeg[:place] + stray + jpeg[place:]


@pytest.mark.parametrize("stray", [b"\0\0", b"\xff", b"\xff\0", b"text", b"\xff\xd0", bytes(70_000)])
def test_stray_bytes_between_the_segments_of_a_jpeg_change_nothing(stray: bytes) -> None:
    whole = encoded(Image.fromarray(np.tile(_CORNERS, (2, 2, 1))[:64, :64]), "JPEG")
    changed = with_stray_bytes(whole, stray)
    assert declared_size(changed) == (64, 64)
    np.testing.assert_array_equal(decode_crop(changed, 64), decode_crop(whole, 64))


def test_a_size_behind_the_coded_pixels_is_none() -> None:
    whole = encoded(Image.new("RGB", (60, 40)), "JPEG")
    frame = whole.index(b"\xff\xc0")
    end = frame + 2 + struct.unpack_from(">H", whole, frame + 2)[0]
    assert declared_size(whole[:frame] + whole[end:] + whole[frame:end] + bytes(9)) is None
    assert declared_size(b"\xff\xd8\xff" + b"\xff" * 2**22) is None  # at once


def test_pipes_and_devices_are_never_opened_and_sparse_giants_never_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(2 * 10**11)
    for path, reason in (
        (tmp_path / "pipe.jpg", "unreadable"),
        (Path("/dev/zero"), "unreadable"),
        (tmp_path / "sparse.jpg", "too_many_bytes"),
    ):
        with pytest.raises(PhotoError, match=reason):
            read_photo(path)


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


def test_threads_that_read_at_once_leave_pillow_as_it_was() -> None:
    """Whichever leaves first: here the one that came first, and then the one that came last."""
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    for order in ((0, 1), (1, 0)):
        readers = [quiet_pillow(), quiet_pillow()]
        for reader in readers:
            reader.__enter__()
        readers[order[0]].__exit__(None, None, None)
        assert Image.MAX_IMAGE_PIXELS is None
        readers[order[1]].__exit__(None, None, None)
        assert limit == Image.MAX_IMAGE_PIXELS
        assert filters == warnings.filters
