"""The columns of a manifest that say how good a photo is, and how they are found where they are missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.quality.names import FRONTAL, POSE, QUALITY_COLUMNS
from data_prep.quality.pose import eye_distance, frontal, head_pose
from data_prep.quality.sharpness import sharpness

_AT_ONCE = 256


def quality_of_face(landmarks: NDArray[np.floating], crop: NDArray[np.uint8]) -> dict[str, float]:
    """What a manifest row says of an aligned face: `QUALITY_COLUMNS`; without what is undefined.

    Args:
        landmarks: (5, 2) in photo pixels.
        crop: (side, side, 3) RGB, before it is compressed.
    """
    values = [
        float(eye_distance(landmarks[None])[0]),
        *head_pose(landmarks[None])[0].tolist(),
        sharpness(crop),
    ]
    found = zip(QUALITY_COLUMNS, values, strict=True)
    return {name: round(value, 3) for name, value in found if value == value}


def photo_quality(
    dataset: AlignedDataset, rows: NDArray[np.int64], names: Iterable[str], *, read_crops: bool
) -> dict[str, NDArray[np.float64]]:
    """Measures or columns of some photos: name -> (rows,), NaN where nothing is known.

    Nothing is known of a photo without a face. Size and pose that the manifest lacks, because an earlier
    version wrote it or the crops are packed, follow from the landmarks where it has those.

    Args:
        dataset: of any kind.
        rows: of the photos.
        names: of `MEASURES` or `QUALITY_COLUMNS`.
        read_crops: measure the sharpness of crops of which it is not known.

    Raises:
        InputError: a crop cannot be read.
    """
    wanted = list(dict.fromkeys(names))
    columns = {each for name in wanted for each in (POSE[:2] if name == FRONTAL else (name,))}
    table = dataset.columns(list(columns))
    found = {name: table[name].cast(pa.float64()).to_numpy()[rows] for name in columns}
    _fill_from_landmarks(dataset, rows, found)
    if "sharpness" in found and read_crops:
        _fill_sharpness(dataset, rows, found["sharpness"])
    without_face = ~np.isin(rows, dataset.with_status(Status.ALIGNED))
    for values in found.values():
        values[without_face] = np.nan
    if FRONTAL in wanted:
        found[FRONTAL] = frontal(found["yaw_deg"], found["pitch_deg"])
    return {name: found[name] for name in wanted}


def _fill_from_landmarks(
    dataset: AlignedDataset, rows: NDArray[np.int64], found: dict[str, NDArray[np.float64]]
) -> None:
    lacking = [name for name in found if name in QUALITY_COLUMNS[:-1] and np.isnan(found[name]).any()]
    if not lacking:
        return
    column = dataset.columns(["landmarks"])["landmarks"].take(pa.array(rows))
    known = np.flatnonzero(column.is_valid().to_numpy())
    if len(known):
        points = column.drop_null().combine_chunks().flatten().to_numpy().reshape(-1, 5, 2)
        values: dict[str, Any] = dict(zip(POSE, head_pose(points).T, strict=True))
        values["eye_distance_px"] = eye_distance(points)
        for name in lacking:
            found[name][known] = np.where(np.isnan(found[name][known]), values[name], found[name][known])


def _fill_sharpness(dataset: AlignedDataset, rows: NDArray[np.int64], found: NDArray[np.float64]) -> None:
    aligned = np.isin(rows, dataset.with_status(Status.ALIGNED))
    places = np.flatnonzero(np.isnan(found) & aligned)
    for start in range(0, len(places), _AT_ONCE):
        batch = places[start : start + _AT_ONCE]
        found[batch] = [sharpness(crop) for crop in dataset.crops.read(rows[batch])]
