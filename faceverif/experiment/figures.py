"""Pictures of tables; they draw what has been computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from faceverif.curves import Metrics
from faceverif.plotting import COLOURS, FAINT, INK, PERCENT, new_figure, new_panels

# In spans of our own numbers.
_FARTHEST_PAPER = 3


@dataclass(frozen=True)
class Series:
    """A method's numbers over a setting, such as the width of a layer.

    Attributes:
        name: of the method.
        settings: (n,), ascending.
        values: (n,), in the unit that is drawn.
    """

    name: str
    settings: Sequence[float]
    values: Sequence[float]


def training_curves_figure(runs: Mapping[str, Metrics], *, judged: str, title: str) -> Figure:
    """Loss and accuracies over the epochs, a colour a run; dots where the judging accuracy was measured.

    Args:
        runs: name -> columns of its metrics.csv.
        judged: the column of the accuracy that it is judged by.
        title: of that accuracy's panel.
    """
    figure, (loss, training, evaluation) = new_panels(3)
    for number, (name, metrics) in enumerate(runs.items()):
        colour = COLOURS[number % len(COLOURS)]
        _curve(loss, metrics, "loss", colour=colour, label=name)
        _curve(training, metrics, "accuracy", colour=colour, label=name)
        evaluation.plot(
            *_known(metrics, judged), "o-", color=colour, linewidth=1.4, markersize=2.5, label=name
        )
    loss.set(title="Training loss", xlabel="epoch")
    training.set(title="Accuracy in training", xlabel="epoch")
    evaluation.set(title=title, xlabel="epoch")
    for axes in (training, evaluation):
        axes.yaxis.set_major_formatter(PERCENT)
    loss.legend(frameon=False, fontsize=7)
    return figure


def seeds_figure(
    values: Mapping[str, Sequence[float]], *, label: str, published: Mapping[str, float]
) -> Figure:
    """What each seed gave, a row of dots a method; a bar for their mean, a diamond for the paper.

    Papers whose numbers lie so far away that our dots would fall together are left out.

    Args:
        values: name of a method -> a number a seed, in the unit that is drawn.
        label: of the axis.
        published: the paper's number of the methods that have one.
    """
    figure, axes = new_figure(wide=True)
    ours = [value for seeds in values.values() for value in seeds]
    room = _FARTHEST_PAPER * (max(ours) - min(ours))
    for place, (name, seeds) in enumerate(values.items()):
        colour = COLOURS[place % len(COLOURS)]
        axes.plot(seeds, [place] * len(seeds), "o", color=colour, markersize=6, alpha=0.75)
        axes.plot([fmean(seeds)], [place], "|", color=colour, markersize=20, markeredgewidth=2)
        if name in published and min(ours) - room <= published[name] <= max(ours) + room:
            axes.plot([published[name]], [place], "D", color=INK, markersize=5)
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set(xlabel=label)
    axes.grid(False, axis="y")
    return figure


def series_figure(
    series: Sequence[Series], *, setting: str, value: str, mark: tuple[float, str] | None = None
) -> Figure:
    """A number over a setting, a line a method (W-Softmax, Fig. 4: accuracy over the width of a layer).

    Args:
        series: the lines.
        setting: label of the horizontal axis.
        value: label of the vertical axis.
        mark: a setting to point out, and its name.
    """
    figure, axes = new_figure(wide=True)
    everywhere = sorted({place for line in series for place in line.settings})
    if everywhere[0] > 0 and everywhere[-1] / everywhere[0] >= 16:
        axes.set_xscale("log", base=2)
    if mark is not None:
        axes.axvline(mark[0], color=FAINT, linewidth=1.2, label=mark[1])
    for number, line in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(line.settings, line.values, "o-", color=colour, markersize=4, label=line.name)
    axes.set_xticks(everywhere, [f"{place:g}" for place in everywhere])
    axes.minorticks_off()
    axes.set(xlabel=setting, ylabel=value)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _known(metrics: Metrics, column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Epochs and values of a column, where it has any."""
    values = metrics.get(column, np.empty(0))
    there = np.isfinite(values)
    return metrics.get("epoch", np.arange(len(values), dtype=np.float64))[there], values[there]


def _curve(axes: Axes, metrics: Metrics, column: str, *, colour: str, label: str) -> None:
    epochs, values = _known(metrics, column)
    axes.plot(epochs, values, color=colour, linewidth=1.3, label=label)
