"""What a run says of its steps: rows of the log, and warnings. The first process alone writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from faceverif.config.run import RunConfig
from faceverif.training.adversarial import Robustness
from faceverif.training.checkpoint import Standing
from faceverif.training.logs.interval import Interval
from faceverif.training.logs.loggers import open_logger
from faceverif.training.logs.metrics_log import MetricsLog, keep_shortened_log
from faceverif.training.logs.step_figures import StepFigures
from faceverif.training.wsoftmax_warnings import OppositeEmbeddings


class RunLog:
    """The log of a run, and the steps since its last row.

    Args:
        run: the run's folder.
        config: the run.
        writes: whether this process is the first.

    Attributes:
        opposite: watches for W-Softmax's second minimum.
    """

    def __init__(self, run: Path, config: RunConfig, *, writes: bool) -> None:
        self._run, self._config, self._writes = run, config, writes
        self.opposite = OppositeEmbeddings(
            config, normed=config.backbone.normed_embedding, centred=config.backbone.centred_embedding
        )
        self._interval = Interval()
        self._earlier_rows: int | None = None
        self._file: MetricsLog | None = None

    def continue_from(self, standing: Standing) -> None:
        """Take over from a checkpoint."""
        self._interval, self._earlier_rows = Interval.of(standing.interval), standing.logged

    def open(self, *, step: int) -> None:
        """Begin to write, after that many steps."""
        if not self._writes:
            return
        if self._earlier_rows is not None:
            keep_shortened_log(self._run, step=step, rows=self._earlier_rows)
        config = self._config
        named = config.logger
        self._file = MetricsLog(
            self._run,
            verifications=tuple(entry.name for entry in config.verification),
            attacked=Robustness._fields if config.training.adversarial else (),
            step=step,
            logger=open_logger(named, self._run, config.model_dump(mode="json")) if named else None,
        )

    def state(self) -> dict[str, object]:
        """What `continue_from` takes over, for a checkpoint."""
        return {"interval": self._interval.state(), "logged": self._file.rows if self._file else None}

    def count(self, figures: StepFigures, *, seconds: float) -> None:
        """Count a step in, which took so long."""
        self._interval.add(figures, seconds=seconds)

    def write_interval(self, place: Mapping[str, float], schedule: Mapping[str, float]) -> None:
        """The row of the steps since the last one.

        Args:
            place: step, epoch and seconds.
            schedule: what was in force at the last step.
        """
        if self._file is not None:
            rate = self._interval.steps_per_s * self._config.training.batch_size
            means = self.opposite.logged(self._interval.means())
            self._file.write({**place, **means, **schedule, "images_per_s": round(rate, 2)})
        self._interval = Interval()

    def write(self, place: Mapping[str, float], figures: Mapping[str, float]) -> None:
        """A row of its own, such as a verification's."""
        if self._file is not None:
            self._file.write({**place, **figures})

    def close(self) -> None:
        """Finish the loggers."""
        if self._file is not None:
            self._file.close()
