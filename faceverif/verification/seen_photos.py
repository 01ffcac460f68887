"""Photos that a model was trained on: what is measured on them does not hold for other people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_prep.dataset.manifest import AlignedDataset

SEEN_WARNING = (
    "the model was trained on photos of this data set: its numbers do not hold for people whom it has "
    "not seen. Verify it on photos of other people"
)


def training_sets(provenance: Mapping[str, Any]) -> list[str]:
    """Hashes of the data sets that a model was trained on, also by the runs that it started from.

    A set of which a list of exclusions left photos out does not count: the list may name just those that are
    verified later.

    Args:
        provenance: of the model; empty for one from elsewhere.
    """
    data, earlier = provenance.get("data") or {}, provenance.get("start_from") or {}
    own = [data["manifest_sha256"]] if "manifest_sha256" in data and not data.get("exclusions") else []
    return [*own, *earlier.get("training_sets", ())]


def seen_warning(provenance: Mapping[str, Any], dataset: AlignedDataset) -> str | None:
    """A warning where the photos of a data set were trained on.

    Args:
        provenance: of the model; empty for one from elsewhere.
        dataset: what it is measured on.
    """
    return SEEN_WARNING if dataset.sha256 in training_sets(provenance) else None
