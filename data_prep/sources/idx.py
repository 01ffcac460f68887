"""The idx files of MNIST and its successors, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError
from data_prep.own_files import read_guarded

_UNSIGNED_BYTES = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
_MOST_VALUES = 2**29  # ten times MNIST; a few gzipped bytes can claim, and be, gigabytes

Part = Literal["train", "t10k"]


def has_idx_files(folder: Path) -> bool:
    """Whether the training images lie in that folder."""
    return _find(folder, "train-images-idx3-ubyte") is not None


def read_idx_images(folder: Path, part: Part) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images and labels of a part of MNIST.

    Args:
        folder: with `train-images-idx3-ubyte` and the other three, each plain or as `.gz`.
        part: train, or t10k, the test set.

    Returns:
        (images, height, width) and (images,).

    Raises:
        InputError: a file is missing, is damaged, or does not fit the other.
    """
    images = read_idx(_require(folder, f"{part}-images-idx3-ubyte"), dimensions=3)
    labels = read_idx(_require(folder, f"{part}-labels-idx1-ubyte"), dimensions=1)
    if len(images) != len(labels):
        raise InputError(
            "data.path",
            "must hold as many labels as images",
            got=f"{len(images)} images and {len(labels)} labels of {part} in {folder}",
            fix="Take the four files from one place.",
        )
    return images, labels


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """An array of unsigned bytes from an idx file, known as gzipped by its first bytes.

    The format: two zero bytes, the type, the number of dimensions, each extent as a big-endian uint32, the
    values in row-major order.

    Args:
        path: the file.
        dimensions: how many the array must have.

    Raises:
        InputError: no such file, another format or type, other dimensions, too few or too many bytes.
    """
    rule = "must hold whole idx files of unsigned bytes"
    with read_guarded("data.path", rule, got=path, fix="Fetch it again."):
        with path.open("rb") as plain:
            zipped = plain.read(2) == _GZIP_MAGIC
        with gzip.open(path) if zipped else path.open("rb") as file:
            shape = _read_shape(file.read(4 + 4 * dimensions), dimensions)
            size = math.prod(shape)
            if size > _MOST_VALUES:
                raise ValueError(f"its header announces {size:,} values")
            values = file.read(size + 1)
        if len(values) != size:
            found = f"{len(values):,}" if len(values) < size else "more"
            raise ValueError(f"its header announces {size:,} values, it holds {found}")
    return np.frombuffer(values, dtype=np.uint8).reshape(shape).copy()  # writable


def _read_shape(header: bytes, dimensions: int) -> tuple[int, ...]:
    if header[:4] != bytes((0, 0, _UNSIGNED_BYTES, dimensions)):
        raise ValueError(f"it begins with {header[:4].hex() or 'nothing'}")
    if len(header) < 4 + 4 * dimensions:
        raise ValueError("its header is cut off")
    return struct.unpack(f">{dimensions}I", header[4:])


def _find(folder: Path, name: str) -> Path | None:
    """The file, plain or gzipped, also called `train-images.idx3-ubyte`, or in torchvision's `raw`."""
    names = (name, name.replace("-idx", ".idx"))
    places = (folder, folder / "raw")
    found = (place / (each + ending) for place in places for each in names for ending in ("", ".gz"))
    return next((path for path in found if path.is_file()), None)


def _require(folder: Path, name: str) -> Path:
    path = _find(folder, name)
    if path is None:
        raise InputError(
            "data.path",
            f"must hold {name}, plain or as .gz",
            got=folder,
            fix="Point it at the folder of the four idx files.",
        )
    return path
