"""The crops that an export is calibrated on and compared with the model on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.alignment.base import Template
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.errors import InputError
from data_prep.face_model import load_face_model
from data_prep.protocols import VerificationProtocol
from data_prep.synthetic import draw_crops
from faceverif.verification.scoring import PairPhotos

COMPARED = CALIBRATED = 256
_NEEDED = COMPARED + CALIBRATED
_SEED = 0


@dataclass(frozen=True)
class CheckCrops:
    """Disjoint crops for the two purposes.

    Attributes:
        compared: (256, crop_px, crop_px, 3) uint8 RGB, on which the export is compared with the model.
        calibration: the same number again, for the ranges of int8.
        origin: where they come from, in words.
    """

    compared: NDArray[np.uint8]
    calibration: NDArray[np.uint8]
    origin: str


def check_crops(
    dataset: AlignedDataset | None, template: Template, *, without: VerificationProtocol | None
) -> CheckCrops:
    """Photos of a data set, or people who do not exist where there is none.

    Args:
        dataset: aligned for the model.
        template: of the crops.
        without: a protocol that is measured afterwards: none of its photos is taken. Where it names nearly
            all, people are drawn instead.

    Raises:
        InputError: the data set has too few crops.
    """
    if dataset is None:
        return _drawn(template)
    rows = dataset.with_status(Status.ALIGNED)
    origin = f"photos of {dataset.root.resolve().name}"
    if without is not None:
        rows = np.setdiff1d(rows, PairPhotos.of(without, dataset).rows)
        origin += " that the protocol does not name"
        if len(rows) < _NEEDED:
            return _drawn(template)
    if len(rows) < _NEEDED:
        raise InputError(
            "--data",
            f"must hold at least {_NEEDED} crops with a face: the export is compared with the model on "
            f"{COMPARED} of them, and int8 is calibrated on the others",
            got=f"{len(rows):,} in {dataset.root}",
            fix="Name a larger set, or leave --data out: people are drawn instead.",
        )
    chosen = np.random.default_rng(_SEED).choice(rows, _NEEDED, replace=False)
    return _split(dataset.crops.read(chosen), origin)


def _drawn(template: Template) -> CheckCrops:
    crops = draw_crops(load_face_model(), _NEEDED, crop_px=template.crop_px, seed=_SEED)
    return _split(crops, "drawn people")


def _split(crops: NDArray[np.uint8], origin: str) -> CheckCrops:
    return CheckCrops(crops[:COMPARED], crops[COMPARED:], origin)
