"""What the runs of a table are: how one is trained, when it has finished, and its result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from data_prep.errors import InputError
from faceverif.config.reading import read_yaml, validate_config
from faceverif.config.section import Change, changed_settings, may_change
from faceverif.experiment.kinds import RunSettings
from faceverif.file_names import CONFIG_NAME
from faceverif.report.plotting import LineStyle, Panel

Config = TypeVar("Config", bound=RunSettings)


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    Attributes:
        metrics: what was measured; rates are fractions. A table shows the single numbers among them.
        hours: that it took.
        evaluated_on: on what, in words.
        data: hashes of all that was trained on and evaluated.
    """

    metrics: Mapping[str, Any]
    hours: float
    evaluated_on: str
    data: tuple[str, ...]


@dataclass(frozen=True)
class FinishedRun:
    """A run of a table that has finished.

    Attributes:
        method, case: where in the table; case is None where there are none.
        config: all its settings.
        folder: where it lies.
        result: what the run measured.
    """

    method: str
    case: str | None
    config: RunSettings
    folder: Path
    result: RunResult


@dataclass(frozen=True)
class PageFigure:
    """A figure of the page.

    Attributes:
        name: of its files, before the names of the panels.
        heading: above it.
        note: how to read it.
        panels: what is drawn.
    """

    name: str
    heading: str
    note: str
    panels: Sequence[Panel]


class Task(ABC, Generic[Config]):
    """A kind of training that tables can be made of."""

    @abstractmethod
    def train(self, config: Config, run: Path) -> None:
        """Train a run to its end, or continue one that was killed.

        Raises:
            InputError: data, folder or settings break a rule, or the loss is no longer finite.
        """

    @abstractmethod
    def result(self, run: Path) -> RunResult | None:
        """What came of a run; None where it has not finished."""

    @abstractmethod
    def pictures(
        self, runs: Mapping[str, FinishedRun], styles: Mapping[str, LineStyle]
    ) -> Iterator[PageFigure]:
        """The pictures of one case.

        Args:
            runs: name of a method -> one of its runs.
            styles: how each method is drawn, the same in all pictures.
        """

    def finish(self, config: Config, run: Path) -> None:
        """Train a run, continue one that was killed, or leave one alone that has finished.

        Raises:
            InputError: as `train`, or the folder holds a run with other settings.
        """
        self.refuse_other_settings(config, run)
        if self.result(run) is None:
            self.train(config, run)

    def refuse_other_settings(self, config: Config, run: Path) -> None:
        """Stop where a run lies that was trained with other settings.

        Raises:
            InputError: it was; both values are named.
        """
        path = run / CONFIG_NAME
        if not path.is_file():
            if self.result(run) is not None:
                fix = f"Put it back, or remove {run} to train again."
                raise InputError(
                    f"{run.parent.name}/{run.name}", "must hold its config.yaml", got="none", fix=fix
                )
            return
        stored = validate_config(type(config), read_yaml(path), source=str(path))
        then, now = (each.model_dump(mode="json") for each in (stored, config))
        changes = changed_settings(then, now, may_change=may_change(type(config), Change.FREE))
        if changes:
            raise InputError(
                f"{run.parent.name}/{run.name}",
                f"must have the settings that {run} was trained with",
                got=changes,
                fix="Set them back, remove that folder, or name another --out.",
            )
