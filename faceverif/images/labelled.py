"""`LabelledImages` in memory, and as a list of files that are decoded when they are read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from data_prep.errors import InputError, first_line
from data_prep.system_errors import system_trouble


@dataclass(frozen=True)
class ImageSet:
    """Labelled images in memory.

    Attributes:
        images: (N, C, H, W) uint8; C is 1 or 3, RGB.
        labels: (N,) int64, an index into class_names.
        class_names: in the data set's own order.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def read(self, which: Tensor) -> Tensor:
        """Those images, (len(which), C, H, W) uint8, where the set lies."""
        return self.images[which]

    def take(self, which: Tensor) -> Self:
        """The set of those images, in that order."""
        return replace(self, images=self.images[which], labels=self.labels[which])

    def to(self, device: torch.device) -> Self:
        """The same set on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def sha256(self) -> str:
        """Hash over pixels, labels and class names."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        digest.update(self.labels.cpu().numpy().tobytes())
        digest.update(self.images.cpu().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class ImageFiles:
    """Labelled images on disk, for sets that memory does not hold.

    Each is decoded when it is read: upright, RGB, the shorter side scaled to shorter_px, the central square
    of side_px cut out.

    Attributes:
        paths: of the images.
        labels: (N,) int64, an index into class_names.
        class_names: in the data set's own order.
        side_px: of an image as it is read.
        shorter_px: to what its shorter side is scaled before, at least side_px.
    """

    paths: Sequence[Path]
    labels: Tensor
    class_names: tuple[str, ...]
    side_px: int
    shorter_px: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image as it is read."""
        return 3, self.side_px, self.side_px

    def read(self, which: Tensor) -> Tensor:
        """Those images, (len(which), 3, side_px, side_px) uint8, where the labels lie.

        Raises:
            InputError: a file is missing, damaged or no picture.
        """
        paths = [self.paths[index] for index in which.tolist()]
        # Decoding lets go of Python's lock, so threads do.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            images = list(pool.map(self._decoded, paths))
        return torch.stack(images).to(self.labels.device)

    def take(self, which: Tensor) -> Self:
        """The set of those images, in that order."""
        paths = [self.paths[index] for index in which.tolist()]
        return replace(self, paths=paths, labels=self.labels[which])

    def to(self, device: torch.device) -> Self:
        """The same files; images read from them lie on that device."""
        return replace(self, labels=self.labels.to(device))

    def sha256(self) -> str:
        """Hash over file names, labels and class names; not over the files' content."""
        digest = hashlib.sha256("\n".join((*self.class_names, *(path.name for path in self.paths))).encode())
        digest.update(self.labels.cpu().numpy().tobytes())
        return digest.hexdigest()

    def _decoded(self, path: Path) -> Tensor:
        return read_scaled_centre(path, self.side_px, shorter_px=self.shorter_px)


Images = ImageSet | ImageFiles


def spread_evenly(images: Images, *, most: int = 10_000) -> Images:
    """At most `most` images, spread evenly over the set."""
    if len(images) <= most:
        return images
    return images.take(torch.linspace(0, len(images) - 1, most).long())


def as_pixels(images: Tensor) -> Tensor:
    """(batch, C, H, W) uint8 -> the same in [0, 1], channels last."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255.0)


def read_scaled_centre(path: Path, side_px: int, *, shorter_px: int) -> Tensor:
    """`scaled_centre` of a picture file of a data set.

    Raises:
        InputError: it is missing, damaged or no picture.
    """
    try:
        with Image.open(path) as picture:
            return scaled_centre(picture, side_px, shorter_px=shorter_px)
    except Exception as error:  # a decoder may raise anything on bytes that nobody ever encoded
        if system_trouble(error) is not None:  # the file may be whole
            raise
        why = first_line(error).replace(f" {str(path)!r}", "").rstrip(":")  # the path is said anyway
        raise InputError(
            "data.path",
            "must hold readable pictures",
            got=f"{path} ({why})",
            fix="Replace the file, or fetch the data set again.",
        ) from error


def scaled_centre(picture: Image.Image, side_px: int, *, shorter_px: int) -> Tensor:
    """The central square of a picture, after its shorter side is scaled.

    Args:
        picture: of any mode and size.
        side_px: of the result.
        shorter_px: of the scaled picture's shorter side, at least side_px.

    Returns:
        (3, side_px, side_px) uint8 RGB.
    """
    upright = ImageOps.exif_transpose(picture).convert("RGB")
    scale = shorter_px / min(upright.size)
    size = [max(side_px, round(extent * scale)) for extent in upright.size]
    left, top = ((extent - side_px) // 2 for extent in size)
    scaled = upright.resize((size[0], size[1]), Image.Resampling.BILINEAR)
    pixels = np.asarray(scaled.crop((left, top, left + side_px, top + side_px)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()
