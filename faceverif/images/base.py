"""The contract of labelled images, as attacks and detectors read them."""

from __future__ import annotations

from typing import Protocol, Self

from torch import Tensor


class LabelledImages(Protocol):
    """Images that are read when asked for; `ImageSet`, `ImageFiles` and `FaceImages` are such.

    An index counts from 0 to `len` - 1; a set is never changed, `take` gives another one.
    """

    @property
    def labels(self) -> Tensor:
        """(N,) int64, an index into `class_names`, or STRANGER."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image as it is read."""

    def __len__(self) -> int:
        """How many images."""

    def read(self, which: Tensor) -> Tensor:
        """Those images, (len(which), C, H, W) uint8.

        Raises:
            InputError: one cannot be read.
        """

    def take(self, which: Tensor) -> Self:
        """The set of those images, in that order."""

    def sha256(self) -> str:
        """A hash that names the set in results."""
