"""The page of an image classifier's run, made from the files in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.json_object import read_json
from faceverif.config.reading import read_yaml
from faceverif.file_names import CONFIG_NAME, METRICS_NAME, PROVENANCE_NAME, REPORT_NAME, RESULT_NAME
from faceverif.intervals import wilson_interval
from faceverif.report.curves import Line, Metrics, known, lines_panel, read_metrics
from faceverif.report.numbers import percent
from faceverif.report.pages import flat_text, write_page
from faceverif.report.plotting import Panel, house_style, line_styles
from faceverif.report.run_metrics import IMAGE_METRICS, TEN_CROP_METRICS, Metric
from faceverif.report.run_page import own_files, refuse_no_run
from faceverif.report.svg import draw
from faceverif.training.adversarial import Robustness

_ROBUSTNESS = dict(zip(Robustness._fields, ("clean", "one step", "ten steps"), strict=True))


def is_classifier_run(run: Path) -> bool:
    """Whether `faceverif classify` filled a folder: its config names a network; face runs have a backbone."""
    config = run / CONFIG_NAME
    return config.is_file() and "network" in read_yaml(config)


def write_classifier_report(run: Path) -> Path:
    """Write the page of a run: error, errors by class, curves, configuration, provenance.

    An unfinished run gets a page of what exists.

    Raises:
        InputError: the folder holds no run, or its files are damaged.
    """
    refuse_no_run(run)
    with own_files(run):
        result, metrics = read_json(run / RESULT_NAME), read_metrics(run / METRICS_NAME)
        config = read_yaml(run / CONFIG_NAME)
        attack, robustness = config["training"].get("adversarial"), _last_robustness(metrics)
        with house_style():
            curves = draw(_panels(metrics)) if metrics else []
        return write_page(
            run / REPORT_NAME,
            "classifier.html.j2",
            kind="Image classifier",
            title=run.resolve().name,
            numbers=result.get("metrics", {}) | robustness,
            result=result,
            interval=_interval(result),
            measured=_measured(result),
            robustness={_ROBUSTNESS[name]: value for name, value in robustness.items()},
            attack=attack,
            curves=curves,
            config=(run / CONFIG_NAME).read_text(encoding="utf-8"),
            provenance=flat_text(read_json(run / PROVENANCE_NAME)),
        )


def _interval(result: Mapping[str, Any]) -> str:
    """95 % of the error; empty before there is one."""
    if not result:
        return ""
    images = result["images"]
    low, high = wilson_interval(round(result["metrics"]["error"] * images), images)
    return f"{percent(low)} to {percent(high)} %"


def _measured(result: Mapping[str, Any]) -> list[tuple[Metric, float]]:
    """What the run is judged by, with its values."""
    values = result.get("metrics", {})
    metrics = (*IMAGE_METRICS, *TEN_CROP_METRICS)
    return [(metric, values[metric.name]) for metric in metrics if metric.name in values]


def _last_robustness(metrics: Metrics) -> dict[str, float]:
    """After the last epoch; empty without adversarial training."""
    found = {name: known(metrics, name, over="epoch")[1] for name in _ROBUSTNESS}
    return {name: float(values[-1]) for name, values in found.items() if len(values)}


def _panels(metrics: Metrics) -> list[Panel]:
    """Loss, errors, what withstands attacks, and the learning rate over the epochs."""
    wrong = metrics | {"training_error": 1 - metrics["accuracy"]}
    panels = [
        _panel("loss", "Loss", metrics, {"loss": "training"}),
        _panel("error", "Error", wrong, {"training_error": "training", "evaluation_error": "evaluation"}),
        _panel("learning-rate", "Learning rate", metrics, {"learning_rate": "learning rate"}),
    ]
    if _last_robustness(metrics):
        panels.insert(2, _panel("robustness", "Accuracy under attack", metrics, _ROBUSTNESS))
    return panels


def _panel(name: str, title: str, metrics: Metrics, columns: Mapping[str, str]) -> Panel:
    rates = name in ("error", "robustness")
    styles = line_styles(columns.values())
    lines: Sequence[Line] = [
        Line(shown, *known(metrics, column, over="epoch"), styles[shown], marker="o")
        for column, shown in columns.items()
    ]
    return lines_panel(name, title, lines, across="epoch", rates=rates)
