"""Pictures of tables; they draw what has been computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from faceverif.report.curves import Metrics
from faceverif.report.plotting import ACCENT, FAINT, INK, PERCENT, LineStyle, new_figure, new_panels

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


def training_curves_figure(
    runs: Mapping[str, Metrics], *, judged: str, title: str, styles: Mapping[str, LineStyle]
) -> Figure:
    """Loss and accuracies over the epochs, one colour per run; dots mark measured judging accuracies.

    Args:
        runs: name -> columns of its metrics.csv.
        judged: the column of the accuracy that it is judged by.
        title: of that accuracy's panel.
        styles: how each is drawn.
    """
    figure, (loss, training, evaluation) = new_panels(3)
    for name, metrics in runs.items():
        for axes, column, marker in (
            (loss, "loss", ""),
            (training, "accuracy", ""),
            (evaluation, judged, "o"),
        ):
            epochs, values = _known(metrics, column)
            axes.plot(
                epochs, values, marker=marker, linewidth=1.3, markersize=2.5, label=name, **styles[name]
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
        axes.plot(seeds, [place] * len(seeds), "o", color=ACCENT, markersize=6, alpha=0.6)
        axes.plot([fmean(seeds)], [place], "|", color=ACCENT, markersize=20, markeredgewidth=2)
        if name in published and min(ours) - room <= published[name] <= max(ours) + room:
            axes.plot([published[name]], [place], "D", color=INK, markersize=5)
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set(xlabel=label)
    axes.grid(False, axis="y")
    return figure


def series_figure(
    series: Sequence[Series],
    *,
    setting: str,
    value: str,
    styles: Mapping[str, LineStyle],
    mark: tuple[float, str] | None = None,
) -> Figure:
    """A number over a setting, a line a method (W-Softmax, Fig. 4: accuracy over the width of a layer).

    Args:
        series: the lines.
        setting: label of the horizontal axis.
        value: label of the vertical axis.
        styles: how each line is drawn, by its name.
        mark: a setting to point out, and its name.
    """
    figure, axes = new_figure(wide=True)
    everywhere = sorted({place for line in series for place in line.settings})
    if everywhere[0] > 0 and everywhere[-1] / everywhere[0] >= 16:
        axes.set_xscale("log", base=2)
    if mark is not None:
        axes.axvline(mark[0], color=FAINT, linewidth=1.2, label=mark[1])
    for line in series:
        axes.plot(line.settings, line.values, marker="o", markersize=4, label=line.name, **styles[line.name])
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
