"""The kinds of runs that tables are made of: their settings and their metrics.

Importing this needs no torch, so a table is checked before anything heavy loads. `faceverif.experiment.tasks`
says how the runs are trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from faceverif.classification.config import ClassificationConfig
from faceverif.config.run import RunConfig

FACE_FIGURES = ("accuracy", "eer", "auc")
IMAGE_FIGURES = (
    "error",
    "top5_error",
    "macro_f1",
    "nmi",
    *(f"recall_at_{k}" for k in (1, 2, 4, 8)),
    "ece",
    "nll",
    "all_negative",
)
TEN_CROP_FIGURES = ("ten_crop_error", "ten_crop_top5_error")


class RunKind(NamedTuple):
    """A kind of run.

    Attributes:
        config_type: its settings.
        metrics: settings -> the names of the metrics that a table can compare.
    """

    config_type: type[ClassificationConfig] | type[RunConfig]
    metrics: Callable[[Any], tuple[str, ...]]


def _of_protocols(config: RunConfig) -> tuple[str, ...]:
    return tuple(f"{entry.name}/{figure}" for entry in config.verification for figure in FACE_FIGURES)


def _of_images(config: ClassificationConfig) -> tuple[str, ...]:
    return (*IMAGE_FIGURES, *(TEN_CROP_FIGURES if config.training.test_crops > 1 else ()))


RUN_KINDS = {
    "images": RunKind(ClassificationConfig, _of_images),
    "faces": RunKind(RunConfig, _of_protocols),
}
