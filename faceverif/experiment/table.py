"""The table of an experiment: our numbers over seeds, the paper's, a test against the baseline."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scipy import stats

from data_prep.errors import InputError
from faceverif.experiment.config import ExperimentConfig, PublishedNumberConfig
from faceverif.experiment.task import FinishedRun
from faceverif.report.run_metrics import metric_named

# Above it a difference is not called better or worse.
_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class PairedDifference:
    """A method against the baseline, over the seeds that both have run.

    Attributes:
        seeds: how many.
        difference: mean of method - baseline.
        p_value: of the paired t-test, two-sided; None where there is no test.
        note: why there is none, else "".
    """

    seeds: int
    difference: float
    p_value: float | None
    note: str


@dataclass(frozen=True)
class BesideNumber:
    """A method's number of a metric that is shown and not compared.

    Attributes:
        metric: which.
        mean: over the seeds; None before the first, and where a run could not measure it.
        sd: as in `Cell`.
        published: the paper's.
    """

    metric: str
    mean: float | None
    sd: float | None
    published: PublishedNumberConfig


@dataclass(frozen=True)
class Cell:
    """A method under a case.

    Attributes:
        method, case: which; case is None where there are none.
        seeds: finished ones, ascending.
        planned: how many there will be.
        values: the metric of each.
        mean: None before the first.
        sd: over seeds, n - 1 in the denominator; None below two.
        published: the paper's.
        comparison: None for the baseline, and before both have a seed in common.
        beside: the table's further metrics, in its order.
        others: means of all single-number metrics but the compared one.
        hours: of all its runs.
    """

    method: str
    case: str | None
    seeds: list[int]
    planned: int
    values: list[float]
    mean: float | None
    sd: float | None
    published: PublishedNumberConfig
    comparison: PairedDifference | None
    beside: list[BesideNumber]
    others: dict[str, float]
    hours: float

    @property
    def title(self) -> str:
        """Case and method."""
        return " ".join(filter(None, (self.case, self.method)))


@dataclass(frozen=True)
class Table:
    """All cells, methods in the order of the YAML within each case.

    Attributes:
        experiment: what was to be run.
        cells: one each, also where nothing has finished yet.
    """

    experiment: ExperimentConfig
    cells: list[Cell]

    def record(self) -> dict[str, Any]:
        """All of it as plain values, for table.json."""
        described = self.experiment.model_dump(
            mode="json", include={"name", "title", "source", "task", "metric", "beside", "quoted", "baseline"}
        )
        described["lower_is_better"] = self.experiment.lower_is_better
        return described | {"cells": [_as_plain(cell) for cell in self.cells]}

    def columns(self) -> list[str]:
        """Headings of `rows`."""
        case = ["case"] if self.experiment.cases else []
        metric = metric_named(self.experiment.metric).heading
        beside = [
            heading
            for name in self.experiment.beside
            for heading in (f"{metric_named(name).heading}, ours", "paper")[
                : 2 if self._has_published(name) else 1
            ]
        ]
        against = "against " + self.experiment.baseline
        return ["method", *case, f"{metric}, ours", "seeds", "paper", against, *beside]

    def rows(self) -> list[list[str]]:
        """The table as text, one list per cell, and one per quoted row."""
        return [*map(self._row, self.cells), *self._quoted()]

    def markdown(self) -> str:
        """The table for a README."""
        columns = self.columns()
        lines = [columns, ["---"] * len(columns), *self.rows()]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"# {self.experiment.title}\n\n{self.experiment.source}\n\n{table}\n"

    def _row(self, cell: Cell) -> list[str]:
        metric = self.experiment.metric
        case = [cell.case] if cell.case else []
        ours = _with_sd(cell.mean, cell.sd, metric)
        paper = _with_sd(cell.published.mean, cell.published.sd, metric)
        seeds = f"{len(cell.seeds)} of {cell.planned}"
        return [cell.method, *case, ours, seeds, paper, self._against(cell), *self._beside(cell)]

    def _beside(self, cell: Cell) -> list[str]:
        texts = []
        for number in cell.beside:
            texts.append(_with_sd(number.mean, number.sd, number.metric))
            if self._has_published(number.metric):
                texts.append(_with_sd(number.published.mean, number.published.sd, number.metric))
        return texts

    def _has_published(self, metric: str) -> bool:
        return any(
            number.published.mean is not None
            for cell in self.cells
            for number in cell.beside
            if number.metric == metric
        )

    def _quoted(self) -> list[list[str]]:
        rows = []
        for name, number in self.experiment.quoted.items():
            paper = _with_sd(number.mean, number.sd, self.experiment.metric)
            row = [name, *([""] if self.experiment.cases else []), "", "quoted, not run", paper]
            rows.append(row + [""] * (len(self.columns()) - len(row)))
        return rows

    def _against(self, cell: Cell) -> str:
        if cell.method == self.experiment.baseline:
            return "baseline"
        if cell.comparison is None:
            return ""
        difference, p_value = cell.comparison.difference, cell.comparison.p_value
        better = (difference < 0) == self.experiment.lower_is_better
        verdict = "no difference" if difference == 0 else "better" if better else "worse"
        if p_value is not None and p_value >= _SIGNIFICANT:
            verdict = "no significant difference"
        test = cell.comparison.note if p_value is None else f"p = {p_value:.2g}, n = {cell.comparison.seeds}"
        return f"{metric_named(self.experiment.metric).text(difference, sign='+')}, {verdict} ({test})"


def build_table(
    experiment: ExperimentConfig,
    runs: Sequence[FinishedRun],
    *,
    planned: Mapping[tuple[str, str | None], int],
) -> Table:
    """The table of the runs that have finished.

    Args:
        experiment: the whole table.
        runs: finished ones.
        planned: how many runs each cell, (method, case), will have.
    """
    by_place: dict[tuple[str, str | None], dict[int, FinishedRun]] = {place: {} for place in planned}
    for run in runs:
        by_place[run.method, run.case][run.config.seed] = run
    cells = [
        _cell(experiment, place, by_place[place], by_place.get((experiment.baseline, place[1]), {}), count)
        for place, count in planned.items()
    ]
    return Table(experiment, cells)


def compare_paired(values: Sequence[float], baseline: Sequence[float]) -> PairedDifference:
    """A paired t-test of a method against the baseline.

    Args:
        values: of the method, one per seed.
        baseline: of the baseline, for the same seeds in the same order; at least one.
    """
    differences = [ours - theirs for ours, theirs in zip(values, baseline, strict=True)]
    seeds, mean = len(differences), statistics.fmean(differences)
    if seeds < 2:
        return PairedDifference(seeds, mean, None, "one shared seed: too few for a test")
    if len({round(difference, 12) for difference in differences}) == 1:
        return PairedDifference(seeds, mean, None, "the same difference for every seed: no test")
    return PairedDifference(seeds, mean, float(stats.ttest_rel(values, baseline).pvalue), "")


def _cell(
    experiment: ExperimentConfig,
    place: tuple[str, str | None],
    runs: Mapping[int, FinishedRun],
    baseline: Mapping[int, FinishedRun],
    planned: int,
) -> Cell:
    method, case = place
    seeds, metric = sorted(runs), experiment.metric
    for run in runs.values():
        if metric not in run.result.metrics:
            got = f"{run.folder}, evaluated on {run.result.evaluated_on}"
            fix = "Evaluate on more images, or compare another metric."
            raise InputError("metric", f"{metric} must have been measured", got=got, fix=fix)
    values = [float(runs[seed].result.metrics[metric]) for seed in seeds]
    shared = [seed for seed in seeds if seed in baseline]
    comparison = None
    if shared and method != experiment.baseline:
        comparison = compare_paired(
            [runs[seed].result.metrics[metric] for seed in shared],
            [baseline[seed].result.metrics[metric] for seed in shared],
        )
    return Cell(
        method=method,
        case=case,
        seeds=seeds,
        planned=planned,
        values=values,
        mean=statistics.fmean(values) if values else None,
        sd=statistics.stdev(values) if len(values) > 1 else None,
        published=experiment.published(method, case, metric),
        comparison=comparison,
        beside=[_beside(experiment, place, runs, name) for name in experiment.beside],
        others=_mean_metrics([run.result.metrics for run in runs.values()], without=metric),
        hours=sum(run.result.hours for run in runs.values()),
    )


def _beside(
    experiment: ExperimentConfig, place: tuple[str, str | None], runs: Mapping[int, FinishedRun], metric: str
) -> BesideNumber:
    measured = (runs[seed].result.metrics.get(metric) for seed in sorted(runs))
    values = [float(value) for value in measured if value is not None]
    return BesideNumber(
        metric,
        mean=statistics.fmean(values) if values else None,
        sd=statistics.stdev(values) if len(values) > 1 else None,
        published=experiment.published(*place, metric),
    )


def _as_plain(cell: Cell) -> dict[str, Any]:
    beside = [asdict(number) | {"published": number.published.model_dump()} for number in cell.beside]
    return asdict(cell) | {"published": cell.published.model_dump(), "beside": beside}


def _mean_metrics(results: Sequence[Mapping[str, Any]], *, without: str) -> dict[str, float]:
    """The mean of every metric that is a single number in each of the results."""
    if not results:
        return {}
    single = [
        name
        for name in results[0]
        if name != without and all(isinstance(result.get(name), int | float) for result in results)
    ]
    return {name: statistics.fmean(result[name] for result in results) for name in single}


def _with_sd(mean: float | None, sd: float | None, metric: str) -> str:
    if mean is None:
        return ""
    text = metric_named(metric).text
    return text(mean) + (f" ± {text(sd)}" if sd is not None else "")
