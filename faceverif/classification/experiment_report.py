"""The page of an experiment: its table, the pictures that apply, and where the numbers come from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from data_prep.atomic import write_text, written_whole
from faceverif.classification.experiment_config import ExperimentConfig, PlannedRun
from faceverif.classification.experiment_table import Cell, Table, metric_label, metric_text
from faceverif.classification.figures import (
    Series,
    angles_figure,
    likelihood_figure,
    reliability_figure,
    scatter_figure,
    series_figure,
    training_curves_figure,
)
from faceverif.classification.outputs import likelihood_map, run_outputs
from faceverif.curves import read_metrics
from faceverif.pages import render_page
from faceverif.plotting import figure_png, house_style
from faceverif.report import REPORT_NAME, picture_uri

_WIDTH = "embedding_dim"


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        name: of its file.
        heading: above it.
        note: how to read it.
        figure: what is drawn.
    """

    name: str
    heading: str
    note: str
    figure: Figure


def write_experiment_report(table: Table, finished: Sequence[PlannedRun], out: Path) -> Path:
    """Write report.html, and its pictures in figures/.

    Args:
        table: of what has finished.
        finished: those runs.
        out: the experiment's folder, with the runs in it.
    """
    with house_style():
        pictures = [_saved(picture, out) for picture in _pictures(table, finished, out)]
    others = sorted({name for cell in table.cells for name in cell.others})
    page = render_page(
        "experiment.html.j2",
        metric_text=metric_text,
        table=table,
        pictures=pictures,
        others=[(name, metric_label(name)) for name in others],
        hours=sum(cell.hours for cell in table.cells),
        finished=sum(len(cell.seeds) for cell in table.cells),
        planned=sum(cell.planned for cell in table.cells),
        machines=_machines(finished, out),
        evaluated=_evaluated_on(finished, out),
    )
    write_text(out / REPORT_NAME, page)
    return out / REPORT_NAME


def case_axis(experiment: ExperimentConfig) -> tuple[str, dict[str, float]] | None:
    """The one setting by which the cases differ, and its value in each; None where it is no such number."""
    settings = [(case.name, list(_leaves(case.settings))) for case in experiment.cases]
    if len(settings) < 2 or any(len(leaves) != 1 for _, leaves in settings):
        return None
    keys = {leaves[0][0] for _, leaves in settings}
    values = {name: leaves[0][1] for name, leaves in settings}
    numbers = all(isinstance(value, int | float) for value in values.values())
    return (keys.pop(), values) if len(keys) == 1 and numbers else None


def _pictures(table: Table, finished: Sequence[PlannedRun], out: Path) -> Iterator[Picture]:
    yield from _over_cases(table, finished, out)
    for case in dict.fromkeys(run.case for run in finished):
        runs: dict[str, PlannedRun] = {}
        for run in finished:
            if run.case == case:
                runs.setdefault(run.method, run)
        order = [method.name for method in table.experiment.methods if method.name in runs]
        yield from _of_case(case, {name: runs[name] for name in order}, out)


def _over_cases(table: Table, finished: Sequence[PlannedRun], out: Path) -> Iterator[Picture]:
    """The metric over the setting that makes the cases, where it is a number."""
    axis, metric = case_axis(table.experiment), table.experiment.metric
    cells = [cell for cell in table.cells if cell.mean is not None]
    if axis is None or not cells:
        return
    key, places = axis
    by_method: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: places[cell.case or ""]):
        by_method.setdefault(cell.method, []).append(cell)
    label = "accuracy in %" if metric == "error" else metric_label(metric)
    series = [
        Series(
            name, [places[cell.case or ""] for cell in own], [_drawn(cell.mean or 0, metric) for cell in own]
        )
        for name, own in by_method.items()
    ]
    setting = key.rpartition(".")[2]
    mark = _fewest_units(finished, out) if setting == _WIDTH else None
    figure = series_figure(series, setting=setting.replace("_", " "), value=label, mark=mark)
    yield Picture("cases", f"Over {key}", "The mean over the seeds that have finished.", figure)


def _of_case(case: str | None, runs: Mapping[str, PlannedRun], out: Path) -> Iterator[Picture]:
    """The pictures of one case: of each method the first run that has finished."""
    where, suffix = (f", {case}", f"-{case}") if case else ("", "")
    seeds = "Of each method the first seed."
    folders = {name: out / run.name for name, run in runs.items()}
    outputs = {name: run_outputs(folder) for name, folder in folders.items()}
    results = {name: _read_json(folder / "result.json")["metrics"] for name, folder in folders.items()}
    flat = {name: each for name, each in outputs.items() if len(each.embeddings)}
    if flat:
        note = f"Evaluation images, a colour and a number a class. {seeds}"
        yield Picture(f"embeddings{suffix}", f"Embeddings{where}", note, scatter_figure(flat))
    heat = {
        name: (each, likelihood_map(folders[name], each.embeddings))
        for name, each in flat.items()
        if runs[name].config.head.name == "lgm"
    }
    if heat:
        note = f"What L-GM has learned: bright is likely; dots are evaluation images. {seeds}"
        yield Picture(f"likelihood{suffix}", f"Likelihood{where}", note, likelihood_figure(heat))
    curves = {name: read_metrics(folder / "metrics.csv") for name, folder in folders.items()}
    yield Picture(f"curves{suffix}", f"Training{where}", seeds, training_curves_figure(curves))
    figure = reliability_figure(outputs, ece={name: result["ece"] for name, result in results.items()})
    note = f"Accuracy of the images by confidence; orange, their mean confidence, to compare with it. {seeds}"
    yield Picture(f"reliability{suffix}", f"Reliability{where}", note, figure)
    # The means of L-GM are places: an angle to them says little of a class.
    angles = {
        name: result["mean_angle_deg"]
        for name, result in results.items()
        if runs[name].config.head.name != "lgm"
    }
    if angles:
        note = f"Evaluation images; a smaller angle is a tighter class. {seeds}"
        yield Picture(f"angles{suffix}", f"Angles{where}", note, angles_figure(angles))


def _fewest_units(finished: Sequence[PlannedRun], out: Path) -> tuple[float, str]:
    """W-Softmax's smallest number of units that can hold the classes at equal angles: classes - 1."""
    angles = _read_json(out / finished[0].name / "result.json")["metrics"]["mean_angle_deg"]
    return len(angles) - 1, f"classes - 1 = {len(angles) - 1}"


def _drawn(mean: float, metric: str) -> float:
    if metric == "error":
        return 100 * (1 - mean)
    return mean if metric == "nll" else 100 * mean


def _saved(picture: Picture, out: Path) -> dict[str, str]:
    path = out / "figures" / f"{picture.name}.png"
    with written_whole(path) as unfinished:
        unfinished.write_bytes(figure_png(picture.figure))
    width = picture.figure.get_figwidth() / 9.6
    return {
        "heading": picture.heading,
        "note": picture.note,
        "source": picture_uri(path),
        "width": f"{min(100.0, 100 * width):.0f}",
    }


def _machines(finished: Sequence[PlannedRun], out: Path) -> list[str]:
    """The machines that the runs were made on, each once."""
    described = [_read_json(out / run.name / "provenance.json").get("machine", {}) for run in finished]
    texts = [", ".join(f"{key} {value}" for key, value in machine.items()) for machine in described]
    return sorted({text for text in texts if text})


def _evaluated_on(finished: Sequence[PlannedRun], out: Path) -> list[str]:
    results = [_read_json(out / run.name / "result.json") for run in finished]
    return sorted({f"{result['evaluated_on']}, {result['images']:,} images" for result in results})


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
