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


RUN_KINDS = {
    "images": RunKind(ClassificationConfig, lambda config: IMAGE_FIGURES),
    "faces": RunKind(RunConfig, _of_protocols),
}
