"""The names of detectors and controls that a config may use. A test holds the registries to them."""

from __future__ import annotations

from typing import Literal, get_args

DetectorName = Literal[
    "lgm_class",
    "lgm_gaussian",
    "lgm_mixture",
    "center",
    "affinity",
    "max_probability",
    "energy",
    "mahalanobis",
    "knn",
    "feature_squeezing",
    "jpeg_disagreement",
    "crop_disagreement",
]
ControlName = Literal["noise", "blur", "jpeg"]
DETECTORS: tuple[DetectorName, ...] = get_args(DetectorName)
CONTROLS: tuple[ControlName, ...] = get_args(ControlName)
# In the label of a control whose changes have the l2 norms of an attack's: between the two names.
LIKE = "-like-"
