"""What the experiment tells an attack about the model, beside the model itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from faceverif.heads import Head
from robustness.attacked_model import AttackedModel
from robustness.detectors.base import Detector
from robustness.features import Features


@dataclass(frozen=True)
class Knowledge:
    """What an attack may be built from. Most attacks need none of it.

    Attributes:
        guides: features of clean training images.
        detector: the model's own, fitted.
        thresholds: false-rejection rate -> threshold of that detector.
        source: another model of the same images; None where the attack's section names none.
        head: of the attacked model.
        accept_from: the verification accepts a pair from this cosine on; None for images of the classes.
    """

    guides: Features
    detector: Detector
    thresholds: Mapping[float, float]
    head: Head
    source: AttackedModel | None = None
    accept_from: float | None = None
