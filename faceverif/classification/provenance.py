"""Which images a classifier comes from."""

from __future__ import annotations

import hashlib
from typing import Any

from faceverif.classification.data_section import ImageDataConfig
from faceverif.images.labelled import Images


def data_sha256(train: Images, evaluation: Images) -> str:
    """Hash of what is trained on and of what is evaluated."""
    return hashlib.sha256(f"{train.sha256()} {evaluation.sha256()}".encode()).hexdigest()


def describe_images(
    config: ImageDataConfig, train: Images, evaluation: Images, *, sha256: str
) -> dict[str, Any]:
    """Name, place and size of the set; JSON-able."""
    return {
        "name": config.name,
        "path": str(config.path) if config.path else None,
        "sha256": sha256,
        "images": len(train),
        "evaluated_images": len(evaluation),
        "classes": len(train.class_names),
    }
