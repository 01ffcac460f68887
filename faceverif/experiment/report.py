"""The page of a table: its rows, the pictures that apply, and where the numbers come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_prep.json_object import read_json
from faceverif.config.section import leaves
from faceverif.experiment.config import ExperimentConfig
from faceverif.experiment.figures import seeds_panel, series_panel
from faceverif.experiment.table import Cell, Table
from faceverif.experiment.task import FinishedRun, PageFigure
from faceverif.experiment.tasks import TASKS
from faceverif.experiment.wsoftmax_figure import memory_over_widths, smallest_width
from faceverif.file_names import FIGURES_NAME, PROVENANCE_NAME, REPORT_NAME
from faceverif.report.curves import Line
from faceverif.report.pages import write_page
from faceverif.report.plotting import LineStyle, house_style, line_styles
from faceverif.report.run_metrics import Metric, metric_named
from faceverif.report.svg import save_panels


def write_experiment_report(table: Table, finished: Sequence[FinishedRun], out: Path) -> Path:
    """Write report.html, and its pictures in figures/.

    Args:
        table: of what has finished.
        finished: those runs.
        out: the experiment's folder, with the runs in it.
    """
    with house_style():
        pictures = [_saved(picture, out) for picture in _pictures(table, finished)]
    others = sorted({name for cell in table.cells for name in cell.others})
    counts = {
        "finished": sum(len(cell.seeds) for cell in table.cells),
        "planned": sum(cell.planned for cell in table.cells),
        "hours": sum(cell.hours for cell in table.cells),
    }
    return write_page(
        out / REPORT_NAME,
        "experiment.html.j2",
        kind="Experiment",
        title=table.experiment.title,
        numbers=counts
        | {"metric": table.experiment.metric, "means": {cell.title: cell.mean for cell in table.cells}},
        table=table,
        pictures=pictures,
        others=[metric_named(name) for name in others],
        counts=counts,
        machines=_machines(finished),
        evaluated=sorted({run.result.evaluated_on for run in finished}),
    )


def case_axis(experiment: ExperimentConfig) -> tuple[str, dict[str, float]] | None:
    """The one setting by which the cases differ, and its value in each; None where it is no such number."""
    settings = [(case.name, list(leaves(case.settings))) for case in experiment.cases]
    if len(settings) < 2 or any(len(changes) != 1 for _, changes in settings):
        return None
    keys = {changes[0][0] for _, changes in settings}
    values = {name: changes[0][1] for name, changes in settings}
    numbers = all(isinstance(value, int | float) for value in values.values())
    return (keys.pop(), values) if len(keys) == 1 and numbers else None


def _pictures(table: Table, finished: Sequence[FinishedRun]) -> Iterator[PageFigure]:
    styles = line_styles(method.name for method in table.experiment.methods)
    yield from _over_cases(table, finished, styles)
    yield from _over_seeds(table, styles)
    for case in dict.fromkeys(run.case for run in finished):
        runs: dict[str, FinishedRun] = {}
        for run in finished:
            if run.case == case:
                runs.setdefault(run.method, run)
        order = [method.name for method in table.experiment.methods if method.name in runs]
        yield from _of_case(table.experiment, case, {name: runs[name] for name in order}, styles)


def _over_cases(
    table: Table, finished: Sequence[FinishedRun], styles: Mapping[str, LineStyle]
) -> Iterator[PageFigure]:
    """The metric over the setting that makes the cases, where it is a number."""
    axis, metric = case_axis(table.experiment), metric_named(table.experiment.metric)
    cells = [cell for cell in table.cells if cell.mean is not None]
    if axis is None or not cells:
        return
    key, places = axis
    by_method: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: places[cell.case or ""]):
        by_method.setdefault(cell.method, []).append(cell)
    label = "accuracy in %" if metric.name == "error" else metric.heading
    lines = [
        Line(
            name,
            [places[cell.case or ""] for cell in own],
            [_drawn(cell.mean or 0, metric) for cell in own],
            styles[name],
            marker="o",
        )
        for name, own in by_method.items()
    ]
    setting = key.rpartition(".")[2]
    mark = smallest_width(setting, finished[0])
    panel = series_panel(lines, setting=setting.replace("_", " "), value=label, mark=mark)
    yield PageFigure("cases", f"Over {key}", "The mean over the seeds that have finished.", [panel])
    yield from memory_over_widths(key, places, finished, styles)


def _over_seeds(table: Table, styles: Mapping[str, LineStyle]) -> Iterator[PageFigure]:
    """What each seed gave, where any method has two."""
    if all(len(cell.values) < 2 for cell in table.cells):
        return
    metric = metric_named(table.experiment.metric)
    cells = {cell.title: cell for cell in table.cells if cell.values}
    panel = seeds_panel(
        {name: [metric.in_its_unit(value) for value in cell.values] for name, cell in cells.items()},
        label=metric.heading,
        published={
            name: metric.in_its_unit(cell.published.mean)
            for name, cell in cells.items()
            if cell.published.mean is not None
        },
        styles={name: styles[cell.method] for name, cell in cells.items()},
    )
    note = "One dot per seed, a bar for their mean; a diamond is the paper's number, where it is near."
    yield PageFigure("seeds", "Seeds", note, [panel])


def _of_case(
    experiment: ExperimentConfig,
    case: str | None,
    runs: Mapping[str, FinishedRun],
    styles: Mapping[str, LineStyle],
) -> Iterator[PageFigure]:
    """The pictures of one case: of each method the first run that has finished."""
    for picture in TASKS[experiment.task].pictures(runs, styles):
        yield PageFigure(
            f"{picture.name}-{case}" if case else picture.name,
            f"{picture.heading}, {case}" if case else picture.heading,
            f"{picture.note} Of each method the first seed.".strip(),
            picture.panels,
        )


def _drawn(mean: float, metric: Metric) -> float:
    return metric.in_its_unit(1 - mean if metric.name == "error" else mean)


def _saved(picture: PageFigure, out: Path) -> dict[str, Any]:
    """The heading and note of a figure, and its panels, which are written too."""
    panels = [
        replace(panel, name="-".join(filter(None, (picture.name, panel.name)))) for panel in picture.panels
    ]
    return {
        "heading": picture.heading,
        "note": picture.note,
        "drawings": save_panels(panels, out / FIGURES_NAME),
    }


def _machines(finished: Sequence[FinishedRun]) -> list[str]:
    """The machines that the runs were made on, each once."""
    described = [read_json(run.folder / PROVENANCE_NAME).get("machine", {}) for run in finished]
    texts = [", ".join(f"{key} {value}" for key, value in machine.items()) for machine in described]
    return sorted({text for text in texts if text})
