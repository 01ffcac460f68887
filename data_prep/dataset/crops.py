"""The crops of an aligned data set: encoded and by manifest row, wherever they lie, or side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from data_prep.atomic import written_whole
from data_prep.errors import InputError
from data_prep.photos import PhotoError, read_bytes
from data_prep.picture_formats import declared_size
from data_prep.system_errors import is_refused

Rows = Sequence[int] | NDArray[np.int64]

_GAP_PX = 4
_JPEG_QUALITY = 92


@dataclass(frozen=True, kw_only=True)
class Crops(ABC):
    """Where the crops lie.

    Only plain values: each worker process gets a copy and opens the files itself.

    Attributes:
        crop_px: side of every crop.
        way_out: what the user can do about a broken crop, as an instruction.
    """

    crop_px: int
    way_out: str

    survives_fork = True  # whether a forked process may read too: the client of a storage does not

    @abstractmethod
    def contents(self, rows: Rows) -> Iterator[bytes]:
        """The encoded crops of these rows, in their order; empty where one cannot be read."""

    @abstractmethod
    def name(self, row: int) -> str:
        """Where the crop of a row lies, for messages."""

    @abstractmethod
    def some(self, rows: NDArray[np.int64]) -> Crops:
        """The crops of these rows alone, which become its rows from 0 on: what a worker is handed."""

    def missing(self, rows: Rows) -> list[str]:
        """The names of crops that are missing, found without reading any; an index lists none of those."""
        return []

    def decoded(self, rows: Rows) -> Iterator[NDArray[np.uint8] | None]:
        """Each crop, (crop_px, crop_px, 3) RGB; None for one that is missing, broken or of another size.

        Errors are for the caller to raise, with `unreadable`: this runs in worker processes, and an exception
        that crosses processes comes out as a page of traceback.
        """
        return (decode_crop(content, self.crop_px) for content in self.contents(rows))

    def read(self, rows: Rows) -> NDArray[np.uint8]:
        """The crops of one row or more, (rows, crop_px, crop_px, 3) RGB.

        Raises:
            InputError: one is missing or broken, or has another size than the data set says.
        """
        crops = np.empty((len(rows), self.crop_px, self.crop_px, 3), dtype=np.uint8)
        for place, crop in enumerate(self.decoded(rows)):
            if crop is None:
                raise self.unreadable(rows[place])
            crops[place] = crop
        return crops

    def unreadable(self, row: int) -> InputError:
        """The error for a crop that `decoded` could not read."""
        return InputError(
            "data",
            f"every crop must be a readable {self.crop_px} x {self.crop_px} picture",
            got=self.name(row),
            fix=self.way_out,
        )


@dataclass(frozen=True, kw_only=True)
class CropFiles(Crops):
    """Crops that are files.

    Attributes:
        root: the data set's folder.
        names: (rows,) paths below it; null where a row has no crop.
    """

    root: Path
    names: pa.ChunkedArray
    way_out: str = "Align the photos again into an empty folder."

    def contents(self, rows: Rows) -> Iterator[bytes]:
        """The files' contents."""
        return (_content(self._path(row)) for row in rows)

    def name(self, row: int) -> str:
        """The file."""
        return str(self._path(row))

    def unreadable(self, row: int) -> InputError:
        """The error for a crop; where only the rights to read it are missing, it says that."""
        path = self._path(row)
        try:
            path.open("rb").close()
        except OSError as error:
            if is_refused(error):
                fix = "Change the rights of the data set's files and folders."
                return InputError("data", "every crop must be readable for you", got=path, fix=fix)
        return super().unreadable(row)

    def some(self, rows: NDArray[np.int64]) -> CropFiles:
        """Their names."""
        return replace(self, names=self.names.take(pa.array(rows)))

    def missing(self, rows: Rows) -> list[str]:
        """Files that do not exist, or have zero bytes."""
        return [self.name(row) for row in rows if is_missing(self._path(row))]

    def _path(self, row: int) -> Path:
        return self.root / self.names[int(row)].as_py()


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except PhotoError:
        return b""


def is_missing(path: Path) -> bool:
    """Whether there is no such file, or only zero bytes."""
    try:
        return not path.is_file() or path.stat().st_size == 0
    except OSError:  # such as a name that is too long for the system
        return True


def decode_crop(content: bytes, crop_px: int) -> NDArray[np.uint8] | None:
    """A crop, (crop_px, crop_px, 3) RGB; None where the bytes are no picture of that size."""
    if declared_size(content) != (crop_px, crop_px):  # a header of few bytes may claim gigabytes
        return None
    try:
        crop = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if crop is None or crop.shape != (crop_px, crop_px, 3):
        return None
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def save_side_by_side(crops: NDArray[np.uint8], path: Path) -> None:
    """Write crops, (n, crop_px, crop_px, 3), in one row with white between them, as a PNG or JPEG."""
    gap = np.full((crops.shape[1], _GAP_PX, 3), 255, dtype=np.uint8)
    spaced = [part for crop in crops for part in (gap, crop)]
    with written_whole(path) as unfinished:
        Image.fromarray(np.hstack(spaced[1:])).save(unfinished, quality=_JPEG_QUALITY)


def centre_square(crops: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """The middle of crops, which a model sees: (n, crop_px, crop_px, 3) -> (n, side_px, side_px, 3)."""
    start = (crops.shape[1] - side_px) // 2
    return crops[:, start : start + side_px, start : start + side_px]
