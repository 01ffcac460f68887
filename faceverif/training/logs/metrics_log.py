"""The run's numbers as they come: metrics.csv for people and scripts, loggers for curves."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from data_prep.atomic import written_whole
from data_prep.errors import first_line
from data_prep.own_files import read_guarded
from data_prep.progress import say
from data_prep.system_errors import naming_full_disk
from faceverif.file_names import METRICS_NAME
from faceverif.training.logs.loggers.base import Logger
from faceverif.training.logs.loggers.tensorboard import TensorBoardLogger

_COLUMNS = (
    "step",
    "epoch",
    "loss",
    "accuracy",
    "all_negative",
    "learning_rate",
    "margin_progress",
    "gradient_norm",
    "images_per_s",
    "seconds",
)


class MetricsLog:
    """A row every few steps and one for every verification; cells that a row has no number for are empty.

    Args:
        run: the run's folder.
        verifications: their names; each has the columns NAME/accuracy and NAME/eer.
        attacked: columns of adversarial training's rows; none without it.
        step: steps made so far. Later rows are dropped: an interrupted run continues from here.
        logger: shows the figures beside TensorBoard; None: none does.

    Attributes:
        rows: how many the file has.
    """

    def __init__(
        self,
        run: Path,
        *,
        verifications: tuple[str, ...],
        attacked: tuple[str, ...] = (),
        step: int,
        logger: Logger | None = None,
    ) -> None:
        self._path = run / METRICS_NAME
        verified = [f"{name}/{figure}" for name in verifications for figure in ("accuracy", "eer")]
        earlier = _rows_until(step, self._path)
        self.rows = len(earlier)
        # A verification that the resumed run no longer has keeps its column.
        self._columns = list(
            dict.fromkeys((*_COLUMNS, *attacked, *verified, *(key for row in earlier for key in row)))
        )
        with (
            written_whole(self._path) as unfinished,
            unfinished.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(earlier)
        self._board = TensorBoardLogger(run, step=step)
        self._logger = logger

    def write(self, row: Mapping[str, float]) -> None:
        """Append a row and show its figures; step, epoch and seconds say where they belong."""
        with naming_full_disk(self._path), self._path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow({key: _text(value) for key, value in row.items()})
        self.rows += 1
        figures = {
            key if "/" in key else f"training/{key}": value
            for key, value in row.items()
            if key not in ("step", "epoch", "seconds")
        }
        self._board.write(figures, step=int(row["step"]))
        self._tell(lambda logger: logger.write(figures, step=int(row["step"])))

    def close(self) -> None:
        """Finish the loggers."""
        self._board.close()
        self._tell(lambda logger: logger.close())

    def _tell(self, what: Callable[[Logger], None]) -> None:
        """Use the logger while it works: a service that fails must not end the training."""
        if self._logger is None:
            return
        try:
            what(self._logger)
        except Exception as error:
            why = first_line(error)
            say(f"logger: it failed ({why}); the run continues without it, {METRICS_NAME} has all")
            self._logger = None


def keep_shortened_log(run: Path, *, step: int, rows: int) -> None:
    """Keep a copy of a log that lost rows, before the run continues it, and say so.

    Args:
        run: the run's folder.
        step: steps made so far.
        rows: how many rows up to this step the run has written.
    """
    path = run / METRICS_NAME
    found = len(_rows_until(step, path))
    if found == rows:
        return
    kept = path.with_name(f"{path.stem}-before-step-{step}{path.suffix}")
    if path.exists() and not kept.exists():
        shutil.copyfile(path, kept)
    copy = f"as it is, it is kept as {kept.name}" if path.exists() else "there is no such file any more"
    say(f"{path} has {found:,} of the {rows:,} rows up to step {step:,}: {copy}, and the run continues")


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.8g}"


def _rows_until(step: int, path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    fix = "Move it away: the run then continues without its earlier rows."
    with (
        read_guarded("--run", f"must hold {METRICS_NAME} as `faceverif train` wrote it", got=path, fix=fix),
        path.open(newline="", encoding="utf-8") as file,
    ):
        return [row for row in csv.DictReader(file, strict=True) if int(row["step"]) <= step]
