"""Pictures of classification runs; they draw what has been computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from faceverif.classification.outputs import LikelihoodMap, RunOutputs
from faceverif.report.numbers import percent
from faceverif.report.plotting import ACCENT, COLOURS, IMPOSTOR, INK, PANELS_PER_ROW, LineStyle

_PANEL_IN = 2.4
_MOST_DOTS = 5000
# Beyond that many classes their numbers would hide the dots.
_MOST_LABELLED = 20
# Log-likelihood below the best at which the heat map is at its darkest.
_DARKEST = 25.0


def scatter_figure(runs: Mapping[str, RunOutputs]) -> Figure:
    """Embeddings in two dimensions by class, one panel per run (L-GM, Fig. 1 a to e; GSC, Fig. 2).

    Args:
        runs: name -> outputs; embeddings of more dimensions say how much of their variance is seen.
    """
    figure, panels = _panels(len(runs))
    for axes, (name, outputs) in zip(panels, runs.items(), strict=True):
        _draw_classes(axes, outputs)
        if len(np.unique(outputs.labels)) <= _MOST_LABELLED:
            _label_classes(axes, outputs)
        axes.set(title=name)
        if not outputs.in_the_plane:
            axes.set(xlabel=f"first two of PCA: {percent(outputs.explained)} % of the variance")
    return figure


def likelihood_figure(runs: Mapping[str, tuple[RunOutputs, LikelihoodMap]]) -> Figure:
    """Heat maps of the log-likelihood with the embeddings on them, one panel per run (L-GM, Fig. 1 f).

    Args:
        runs: name -> outputs with embeddings of two dimensions, and the map around them.
    """
    figure, panels = _panels(len(runs), size_in=3.2)
    for axes, (name, (outputs, heat)) in zip(panels, runs.items(), strict=True):
        best = float(heat.log_likelihood.max())
        picture = axes.imshow(
            heat.log_likelihood,
            extent=(heat.left, heat.right, heat.bottom, heat.top),
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=best - _DARKEST,
            vmax=best,
        )
        shown = outputs.embeddings[_thinned(len(outputs.labels))]
        # A colour that neither end of the map has.
        axes.plot(*shown.T, linestyle="none", marker=".", markersize=1.2, color="#22d3ee", alpha=0.6)
        axes.grid(False)
        axes.set(title=name, xlim=(heat.left, heat.right), ylim=(heat.bottom, heat.top))
        figure.colorbar(picture, ax=axes, label="log-likelihood of the predicted class", extend="min")
    return figure


def reliability_figure(runs: Mapping[str, RunOutputs], *, ece: Mapping[str, float]) -> Figure:
    """Accuracy by confidence, one panel per run, with the expected calibration error (GSC, Fig. 2).

    Args:
        runs: name -> outputs.
        ece: name -> expected calibration error, as the run's result has it.
    """
    figure, panels = _panels(len(runs))
    for axes, (name, outputs) in zip(panels, runs.items(), strict=True):
        width = 1 / len(outputs.counts)
        full = np.flatnonzero(outputs.counts)
        left, middle = width * full, width * (full + 0.5)
        axes.bar(middle, outputs.accuracy[full], 0.9 * width, color=ACCENT)
        axes.hlines(outputs.confidence[full], left, left + width, color=IMPOSTOR, linewidth=1.8)
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.text(0.04, 0.95, f"ECE {percent(ece[name])} %", va="top", fontsize=8, transform=axes.transAxes)
        axes.set(title=name, xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
    return figure


def angles_figure(
    sets: Mapping[str, Mapping[str, Sequence[float | None]]], *, styles: Mapping[str, LineStyle]
) -> Figure:
    """Mean angle between embeddings and their class weight, a group of bars a class (W-Softmax, Fig. 5).

    Args:
        sets: title of a panel, such as "training images" -> name of a run -> mean angle of each class, in
            degrees; None or NaN for a class without an image.
        styles: how each run is drawn; bars take its colour.
    """
    figure = Figure(figsize=(9.6, 3.0 * len(sets)), layout="constrained")
    rows = figure.subplots(len(sets), squeeze=False, sharey=True)[:, 0]
    for axes, (title, runs) in zip(rows, sets.items(), strict=True):
        _draw_angles(axes, runs, styles=styles)
        axes.set(title=f"Mean angle to the own class weight, {title}", xlabel="class", ylabel="degrees")
    rows[-1].legend(
        frameon=False, fontsize=8, ncols=min(len(styles), 6), loc="upper left", bbox_to_anchor=(0, -0.16)
    )
    return figure


def _draw_angles(
    axes: Axes, runs: Mapping[str, Sequence[float | None]], *, styles: Mapping[str, LineStyle]
) -> None:
    classes = len(next(iter(runs.values())))
    width = 0.84 / len(runs)
    for number, (name, angles) in enumerate(runs.items()):
        left = np.arange(classes) - 0.42 + (number + 0.5) * width
        heights = [math.nan if angle is None else angle for angle in angles]
        axes.bar(left, heights, 0.9 * width, color=styles[name]["color"], label=name)
    axes.set_xticks(range(0, classes, 1 if classes <= _MOST_LABELLED else 10))
    axes.grid(False, axis="x")


def _panels(count: int, *, size_in: float = _PANEL_IN) -> tuple[Figure, list[Axes]]:
    """Square panels in rows, as wide as the report where they fill a row."""
    per_row = min(count, PANELS_PER_ROW, int(4 * _PANEL_IN / size_in))
    rows = math.ceil(count / per_row)
    figure = Figure(figsize=(size_in * per_row, size_in * rows * 1.05), layout="constrained")
    return figure, [figure.add_subplot(rows, per_row, number + 1) for number in range(count)]


def _thinned(count: int) -> slice:
    """Evenly spread indices, few enough that dots stay apart."""
    return slice(None, None, max(1, count // _MOST_DOTS))


def _draw_classes(axes: Axes, outputs: RunOutputs) -> None:
    shown = _thinned(len(outputs.labels))
    size = min(8.0, max(1.5, 3000 / len(outputs.labels)))
    embeddings, labels = outputs.embeddings[shown], outputs.labels[shown]
    for label in np.unique(outputs.labels):
        own = embeddings[labels == label]
        axes.scatter(own[:, 0], own[:, 1], s=size, color=COLOURS[label % len(COLOURS)], linewidths=0)


def _label_classes(axes: Axes, outputs: RunOutputs) -> None:
    """The class's number at the middle of its embeddings: ten colours are more than many can tell apart."""
    for label in np.unique(outputs.labels):
        across, upwards = np.median(outputs.embeddings[outputs.labels == label], axis=0)
        axes.text(
            across,
            upwards,
            str(label),
            ha="center",
            va="center",
            fontsize=7,
            fontweight="bold",
            bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )
