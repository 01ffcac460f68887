"""The list of given landmarks: five points and the detector's score for each picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_prep.ijb.fields import broken_row, read_fields
from data_prep.ijb.templates import refuse_unfit_names

_POINTS = [f"{axis}{number}" for number in range(1, 6) for axis in "xy"]
_FARTHEST_PX = 1e6
_RULE = "must be a picture, x and y of five landmarks, and a score, separated by single spaces"


@dataclass(frozen=True)
class GivenLandmarks:
    """What the list says of each picture.

    Attributes:
        names: (pictures,) file names.
        points: (pictures, 5, 2) float64 (x, y) in pixels of the picture: left eye, right eye, nose, left and
            right mouth corner.
        scores: (pictures,) float64 in [0, 1], of the detector.
    """

    names: pa.ChunkedArray
    points: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scores)


def read_landmarks(path: Path) -> GivenLandmarks:
    """Read `ijbc_name_5pts_score.txt`.

    Raises:
        InputError: a line is torn, a landmark is not finite or a million pixels away, a score lies outside 0
            to 1, or a picture comes twice.
    """
    columns = {"name": pa.string()} | dict.fromkeys([*_POINTS, "score"], pa.float64())
    table = read_fields(path, columns, rule=_RULE)
    points = np.stack([table[name].to_numpy() for name in _POINTS], axis=1)
    scores = table["score"].to_numpy()
    unusable = np.flatnonzero(~(np.abs(points) < _FARTHEST_PX).all(axis=1))  # which NaN is not either
    if len(unusable):
        raise broken_row(path, int(unusable[0]), rule="must have landmarks in pixels, finite numbers")
    unusable = np.flatnonzero(~((scores >= 0) & (scores <= 1)))
    if len(unusable):
        raise broken_row(path, int(unusable[0]), rule="must end with a detector score from 0 to 1")
    refuse_unfit_names(path, table["name"])
    return GivenLandmarks(table["name"], points.reshape(-1, 5, 2), scores)
