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
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from data_prep.errors import InputError


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

    Each is decoded when it is read: upright, RGB, the shorter side scaled to 8/7 of side_px, the central
    square of side_px cut out.

    Attributes:
        paths: of the images.
        labels: (N,) int64, an index into class_names.
        class_names: in the data set's own order.
        side_px: of an image as it is read.
    """

    paths: Sequence[Path]
    labels: Tensor
    class_names: tuple[str, ...]
    side_px: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image as it is read."""
        return 3, self.side_px, self.side_px

    def read(self, which: Tensor) -> Tensor:
        """Those images, (len(which), 3, side_px, side_px) uint8, where the labels lie.

        Raises:
            InputError: a file is missing or no picture.
        """
        paths = [self.paths[index] for index in which.tolist()]
        # Decoding lets go of Python's lock, so threads do.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            images = list(pool.map(self._decode, paths))
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

    def _decode(self, path: Path) -> Tensor:
        try:
            with Image.open(path) as picture:
                return scaled_centre(picture, self.side_px)
        except (OSError, UnidentifiedImageError) as error:
            raise InputError(
                "data.path",
                "must hold readable pictures",
                got=error,
                fix="Replace the file, or fetch the data set again.",
            ) from None


Images = ImageSet | ImageFiles


def spread_evenly(images: Images, *, most: int = 10_000) -> Images:
    """At most `most` images, spread evenly over the set."""
    if len(images) <= most:
        return images
    return images.take(torch.linspace(0, len(images) - 1, most).long())


def as_pixels(images: Tensor) -> Tensor:
    """(batch, C, H, W) uint8 -> the same in [0, 1], channels last."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255.0)


def scaled_centre(picture: Image.Image, side_px: int) -> Tensor:
    """The central square of a picture, after scaling its shorter side to 8/7 of that.

    Args:
        picture: of any mode and size.
        side_px: of the result.

    Returns:
        (3, side_px, side_px) uint8 RGB.
    """
    upright = ImageOps.exif_transpose(picture).convert("RGB")
    scale = side_px * 8 / 7 / min(upright.size)
    size = [max(side_px, round(extent * scale)) for extent in upright.size]
    left, top = ((extent - side_px) // 2 for extent in size)
    scaled = upright.resize((size[0], size[1]), Image.Resampling.BILINEAR)
    pixels = np.asarray(scaled.crop((left, top, left + side_px, top + side_px)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()
