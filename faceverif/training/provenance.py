"""What a face model is trained on and with, for its provenance."""

from __future__ import annotations

from typing import Any

from faceverif.config.run import RunConfig
from faceverif.training.data import TrainingPhotos
from faceverif.training.recognition_model import RecognitionModel
from faceverif.training.start_from import Start
from faceverif.training.teachers.base import Teacher


def describe_photos(photos: TrainingPhotos) -> dict[str, Any]:
    """Which aligned photos, and what their manifest says, or would say where they are packed; JSON-able."""
    dataset, header = photos.dataset, photos.dataset.header
    return {
        "path": str(dataset.root),
        "manifest_sha256": dataset.sha256,
        "template": header.template,
        "template_sha256": header.template_sha256,
        "policy": header.policy,
        "colour_order": header.colour_order,
        "min_face_px": header.min_face_px,
        "versions": header.versions,
        "photos": len(photos),
        "identities": len(photos.identities),
        "held_out": len(photos.held_out),
        "exclusions": None if photos.exclusions is None else photos.exclusions.described(),
        "min_quality": dict(photos.least_quality),
        "below_quality": photos.below_quality,
        "left_out": len(dataset) - len(photos) - len(photos.held_out),
    }


def describe_others(
    config: RunConfig, model: RecognitionModel, *, start: Start | None, teacher: Teacher | None
) -> dict[str, Any]:
    """What other runs gave the model of this one; JSON-able."""
    given: dict[str, Any] = {}
    if start is not None:
        given["start_from"] = start.describe(model)
    if teacher is not None and config.teacher is not None:
        given["teacher"] = teacher.describe(config.teacher)
    return given
