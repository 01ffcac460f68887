"""What a face model is trained on, for its provenance."""

from __future__ import annotations

from typing import Any

from faceverif.training.data import TrainingPhotos


def describe_photos(photos: TrainingPhotos) -> dict[str, Any]:
    """Which aligned photos; JSON-able."""
    return {
        "path": str(photos.dataset.root),
        "manifest_sha256": photos.dataset.sha256,
        "template": photos.dataset.header.template,
        "photos": len(photos),
        "identities": len(photos.identities),
        "held_out": len(photos.held_out),
    }
