"""What the experiment tells an attack about the model, beside the model itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceverif.heads import Head
from robustness.attacked_model import AttackedModel
from robustness.detectors.base import Detector
from robustness.features import Features


@dataclass(frozen=True)
class Knowledge:
    """What an attack may be built from; None: not known. Most attacks need none of it.

    Attributes:
        guides: features of clean training images.
        detector: the model's own, fitted.
        thresholds: false-rejection rate -> threshold of that detector.
        source: another model of the same images, or several as one; None where the section names none.
        head: of the attacked model.
        accept_from: the verification accepts a pair from this cosine on; None for images of the classes.
        landmarks: (5, 2) of every face in what the model sees, in pixels, (x, y); None where not known.
    """

    guides: Features | None = None
    detector: Detector | None = None
    thresholds: Mapping[float, float] | None = None
    head: Head | None = None
    source: AttackedModel | None = None
    accept_from: float | None = None
    landmarks: NDArray[np.float64] | None = None
