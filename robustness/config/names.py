"""The names of detectors and controls that a config may use. A test holds the registries to them."""

from __future__ import annotations

DETECTORS = (
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
)
CONTROLS = ("noise", "blur", "jpeg")
# In the label of a control whose changes have the l2 norms of an attack's: between the two names.
LIKE = "-like-"
