"""metrics.csv of a classifier: a row for every epoch."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from data_prep.atomic import written_whole
from faceverif.classification.config import ClassificationConfig
from faceverif.file_names import METRICS_NAME
from faceverif.training.adversarial import Robustness
from faceverif.training.checkpoint import Standing
from faceverif.training.logs.interval import Interval
from faceverif.training.logs.step_figures import StepFigures
from faceverif.training.wsoftmax_warnings import OppositeEmbeddings

_COLUMNS = ("epoch", "loss", "accuracy", "all_negative", "evaluation_error", "learning_rate", "images_per_s")


class EpochLog:
    """The rows of a run and the steps since the last one; the first process alone opens it and writes rows.

    Args:
        run: the run's folder.
        config: the run.

    Attributes:
        opposite: watches for W-Softmax's second minimum.
    """

    def __init__(self, run: Path, config: ClassificationConfig) -> None:
        self._path, self._batch_size = run / METRICS_NAME, config.training.batch_size
        self._columns = (*_COLUMNS, *(Robustness._fields if config.training.adversarial else ()))
        self.opposite = OppositeEmbeddings(
            config, normed=config.network.normed_embedding, centred=config.network.centred_embedding
        )
        self._interval = Interval()
        self._rows: list[dict[str, float]] = []

    def continue_from(self, standing: Standing) -> None:
        """Take over from a checkpoint."""
        self._interval, self._rows = Interval.of(standing.interval), list(standing.history)

    def open(self, *, step: int) -> None:
        """Write the rows so far; those of steps that an interrupted run made after `step` are dropped."""
        self._write()

    def state(self) -> dict[str, object]:
        """What `continue_from` takes over, for a checkpoint."""
        return {"interval": self._interval.state(), "history": tuple(self._rows)}

    def count(self, figures: StepFigures, *, seconds: float) -> None:
        """Count a step in, which took so long."""
        self._interval.add(figures, seconds=seconds)

    def means(self) -> dict[str, float]:
        """Of the figures of the epoch's steps, and their pace."""
        means = self.opposite.logged(self._interval.means())
        pace = round(self._interval.steps_per_s * self._batch_size, 2)
        return {name: means[name] for name in _COLUMNS if name in means} | {"images_per_s": pace}

    def write_epoch(self, row: Mapping[str, float]) -> None:
        """Add the row of an epoch; the next step begins another one."""
        self._rows.append(dict(row))
        self._interval = Interval()
        self._write()

    def _write(self) -> None:
        with written_whole(self._path) as unfinished, unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(self._rows)
