"""The photos of a data set that have a least quality."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from data_prep.printed_command import printed_command
from data_prep.quality.columns import photo_quality

_FIELD = "data.min_quality"


def of_least_quality(
    dataset: AlignedDataset, rows: NDArray[np.int64], least: Mapping[str, float]
) -> NDArray[np.int64]:
    """The rows whose photos have it; one of which a measure is not known does not.

    No crop is read: what the manifest does not say, and its landmarks do not either, is not known.

    Args:
        dataset: of any kind.
        rows: of some photos.
        least: measure -> its least value.

    Raises:
        InputError: a measure is known of no photo, or no photo has the quality.
    """
    kept = np.ones(len(rows), dtype=bool)
    for name, values in photo_quality(dataset, rows, least, read_crops=False).items():
        if np.isnan(values).all():
            raise InputError(
                f"{_FIELD}.{name}",
                "must be known of the photos",
                got=f"none of {len(rows):,} in {dataset.root} has it",
                fix="Align them again, which measures it: "
                + printed_command("align", "PHOTOS", f"{dataset.root}-new"),
            )
        fitting = kept & (values >= least[name])
        if not fitting.any():
            raise _unreached(name, least, values, kept)
        kept = fitting
    return rows[kept]


def _unreached(
    name: str, least: Mapping[str, float], values: NDArray[np.float64], kept: NDArray[np.bool_]
) -> InputError:
    """The error for a measure that none of the photos reaches that are left by the measures before it."""
    left = values[kept & ~np.isnan(values)]
    if not len(left):
        before = list(least)[: list(least).index(name)]
        reached = " and ".join(f"{each} >= {least[each]:g}" for each in before)
        return InputError(
            f"{_FIELD}.{name}",
            "must be known of some photos",
            got=f"none of the {counted(kept.sum(), 'photo')} with {reached} has it",
            fix=f"Lower {' or '.join(before)}, or leave out {name}.",
        )
    return InputError(
        f"{_FIELD}.{name}",
        "must be reached by some photos",
        got=f"{least[name]:g}; of the {kept.sum():,} photos so far the best has {left.max():.4g}",
        fix=f"Lower it: half of all photos have {np.nanmedian(values):.4g}.",
    )
