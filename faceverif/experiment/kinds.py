"""The kinds of runs that tables are made of: their settings and their metrics.

Importing this needs no torch, so a table is checked before anything heavy loads. `faceverif.experiment.tasks`
says how the runs are trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from faceverif.classification.config import ClassificationConfig
from faceverif.config.run import RunConfig
from faceverif.report.run_metrics import FACE_METRICS, IMAGE_METRICS, TEN_CROP_METRICS

KindName = Literal["images", "faces"]
RunSettings = ClassificationConfig | RunConfig


class RunKind(NamedTuple):
    """A kind of run.

    Attributes:
        config_type: its settings.
        metrics: settings -> the names of the metrics that a table can compare.
    """

    config_type: type[RunSettings]
    metrics: Callable[[Any], tuple[str, ...]]


def _of_protocols(config: RunConfig) -> tuple[str, ...]:
    return tuple(f"{entry.name}/{metric.name}" for entry in config.verification for metric in FACE_METRICS)


def _of_images(config: ClassificationConfig) -> tuple[str, ...]:
    measured = (*IMAGE_METRICS, *(TEN_CROP_METRICS if config.training.test_crops > 1 else ()))
    return tuple(metric.name for metric in measured)


RUN_KINDS: dict[KindName, RunKind] = {
    "images": RunKind(ClassificationConfig, _of_images),
    "faces": RunKind(RunConfig, _of_protocols),
}
