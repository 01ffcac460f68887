"""Lines over a setting or over time, and the curves of training runs from their metrics.csv."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from data_prep.counted import counted
from faceverif.report.plotting import (
    ACCENT,
    FAINT,
    PERCENT,
    LineStyle,
    Panel,
    legend_below,
    line_styles,
    new_panel,
)

CURVE_NOTE = "Pale: as logged. Strong: running mean over a twentieth of the rows."

Metrics = dict[str, NDArray[np.float64]]

TRAINING_TITLES = {"loss": "Training loss", "accuracy": "Accuracy in training"}

_ACCURACY_OF = "/accuracy"
_EVERY_ROW = ("loss", "accuracy", "learning_rate")
# The most lines that an alt text names.
_MOST_DESCRIBED = 6
_TRAINING: LineStyle = {"color": ACCENT, "linestyle": "-"}


@dataclass(frozen=True)
class Line:
    """A line of a panel.

    Attributes:
        name: in the legend.
        across, up: (n,) its points.
        style: as arguments of `plot`.
        marker: of each point, as matplotlib names it; none draws the line alone.
        logged: (n,) what `up` is the running mean of, drawn pale behind it.
        low, high: (n,) a band around it.
    """

    name: str
    across: Sequence[float] | NDArray[np.float64]
    up: Sequence[float] | NDArray[np.float64]
    style: LineStyle
    marker: str = ""
    logged: NDArray[np.float64] | None = None
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def lines_panel(name: str, title: str, lines: Sequence[Line], *, across: str, rates: bool = False) -> Panel:
    """Lines in one pair of axes, with a legend if there are several.

    Args:
        name: of the panel.
        title: above the axes.
        lines: those without a point are left out of the drawing, not of the legend.
        across: label of the horizontal axis.
        rates: whether the values are fractions, to be printed in percent.
    """
    figure, axes = new_panel()
    for line in lines:
        if line.logged is not None:
            axes.plot(line.across, line.logged, color=FAINT, linewidth=1)
        if line.low is not None and line.high is not None:
            axes.fill_between(
                line.across, line.low, line.high, color=line.style["color"], alpha=0.15, linewidth=0
            )
        axes.plot(
            line.across,
            line.up,
            label=line.name,
            marker=line.marker or ("o" if len(line.across) == 1 else ""),  # a line of one point is not seen
            markersize=3.5,
            linewidth=1.6,
            **line.style,
        )
    axes.set(title=title, xlabel=across)
    # One tick is enough: else an axis of a single step gets fractions of it.
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=across in ("epoch", "step"), min_n_ticks=1))
    if rates:
        axes.yaxis.set_major_formatter(PERCENT)
    if len(lines) > 1:
        legend_below(figure)
    return Panel(name, figure, _in_words(title, lines, across=across, rates=rates))


def _in_words(title: str, lines: Sequence[Line], *, across: str, rates: bool) -> str:
    """What a panel of lines shows: where each begins and ends."""

    def number(value: float) -> str:
        return f"{100 * value:.4g} %" if rates else f"{value:.4g}"

    parts = []
    for line in lines[:_MOST_DESCRIBED]:
        if not len(line.up):
            parts.append(f"{line.name}: no number yet")
            continue
        begin = f"{number(line.up[0])} at {line.across[0]:g}"
        end = f", {number(line.up[-1])} at {line.across[-1]:g}" if len(line.up) > 1 else ""
        parts.append(f"{line.name}: {begin}{end}")
    more = f"; {counted(len(lines) - _MOST_DESCRIBED, 'more line')}" if len(lines) > _MOST_DESCRIBED else ""
    return f"{title} over {across}. {'; '.join(parts)}{more}."


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


def run_panels(metrics: Metrics) -> list[Panel]:
    """Loss, accuracies and learning rate of a run over its steps."""
    names = [column.removesuffix(_ACCURACY_OF) for column in metrics if column.endswith(_ACCURACY_OF)]
    styles = line_styles(names)
    verified = [
        Line(name, *known(metrics, name + _ACCURACY_OF, over="step"), styles[name], marker="o")
        for name in names
    ]
    rate = Line("learning rate", *known(metrics, "learning_rate", over="step"), _TRAINING)
    return [
        lines_panel("loss", "Loss", [_smoothed(metrics, "loss")], across="step"),
        lines_panel(
            "accuracy", "Accuracy", [_smoothed(metrics, "accuracy"), *verified], across="step", rates=True
        ),
        lines_panel("learning-rate", "Learning rate", [rate], across="step"),
    ]


def panels_of_runs(
    runs: Mapping[str, Metrics], columns: Mapping[str, str], *, over: str, styles: Mapping[str, LineStyle]
) -> list[Panel]:
    """Curves of several runs, one panel per column and one colour per run.

    Args:
        runs: name -> columns of its metrics.csv.
        columns: column -> title of its panel. What is in every row is drawn as a running mean, the rest is
            marked where it was measured. Accuracies are printed in percent.
        over: the column on the horizontal axis, step or epoch.
        styles: name -> how its lines are drawn.
    """
    panels = []
    for column, title in columns.items():
        marker = "" if column in _EVERY_ROW else "o"
        lines = []
        for name, metrics in runs.items():
            places, values = known(metrics, column, over=over)
            means = values if marker else running_mean(values)
            lines.append(Line(name, places, means, styles[name], marker=marker))
        name = column.replace("/", "-").replace("_", "-")
        panels.append(
            lines_panel(name, title, lines, across=over, rates=column.endswith(("accuracy", "_error")))
        )
    return panels


def known(metrics: Metrics, column: str, *, over: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where a column was measured, in steps or epochs, and its values there."""
    values = metrics.get(column, np.empty(0))
    there = np.isfinite(values)
    return metrics.get(over, np.arange(len(values), dtype=np.float64))[there], values[there]


def running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) means over a twentieth of the values; the first windows are shorter, so that none is lost."""
    window = max(1, len(values) // 20)
    sums = np.cumsum(np.append(0.0, values))
    first = np.maximum(np.arange(1, len(values) + 1) - window, 0)
    return (sums[1:] - sums[first]) / (np.arange(1, len(values) + 1) - first)


def _smoothed(metrics: Metrics, column: str) -> Line:
    steps, values = known(metrics, column, over="step")
    return Line("training", steps, running_mean(values), _TRAINING, logged=values)
