"""The curves of a training run, from its metrics.csv."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from faceverif.report.plotting import ACCENT, FAINT, GENUINE, IMPOSTOR, INK, PERCENT, new_panels

CURVE_NOTE = "Pale: as logged. Strong: running mean over a twentieth of the rows."

Metrics = dict[str, NDArray[np.float64]]

_VERIFICATION_COLOURS = (GENUINE, IMPOSTOR, INK)


def read_metrics(path: Path) -> Metrics:
    """The numeric columns of a metrics.csv, (rows,) each; NaN for a missing number, {} without rows."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = rows[0].keys() if rows else ()
    return {column: np.array([_number(row[column]) for row in rows]) for column in columns}


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def curves_figure(metrics: Metrics) -> Figure:
    """Loss, accuracies and learning rate over the steps."""
    figure, (loss, accuracy, rate) = new_panels(3)
    _smoothed(loss, metrics, "loss")
    loss.set(title="Loss", xlabel="step")
    _smoothed(accuracy, metrics, "accuracy")
    _verifications(accuracy, metrics)
    accuracy.yaxis.set_major_formatter(PERCENT)
    accuracy.set(title="Accuracy", xlabel="step")
    steps, rates = _known(metrics, "learning_rate")
    rate.plot(steps, rates, color=ACCENT, linewidth=1.6)
    rate.set_ylim(bottom=0)
    rate.set(title="Learning rate", xlabel="step")
    return figure


def _known(metrics: Metrics, column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and values of a column, without missing values."""
    values = metrics.get(column, np.empty(0))
    there = np.isfinite(values)
    return metrics.get("step", np.arange(len(values), dtype=np.float64))[there], values[there]


def _smoothed(axes: Axes, metrics: Metrics, column: str) -> None:
    steps, values = _known(metrics, column)
    window = max(1, len(values) // 20)
    # The first windows are shorter, so that the curve starts with the first row.
    sums = np.cumsum(np.append(0.0, values))
    first = np.maximum(np.arange(1, len(values) + 1) - window, 0)
    means = (sums[1:] - sums[first]) / (np.arange(1, len(values) + 1) - first)
    axes.plot(steps, values, color=FAINT, linewidth=1)
    axes.plot(steps, means, color=ACCENT, linewidth=1.6, label="training")


def _verifications(axes: Axes, metrics: Metrics) -> None:
    names = [column.removesuffix("/accuracy") for column in metrics if column.endswith("/accuracy")]
    for index, name in enumerate(names):
        colour = _VERIFICATION_COLOURS[index % len(_VERIFICATION_COLOURS)]
        steps, values = _known(metrics, f"{name}/accuracy")
        axes.plot(steps, values, "o-", color=colour, linewidth=1.4, markersize=3.5, label=name)
    if names:
        axes.legend(frameon=False, fontsize=8)
