"""Pictures of classification runs; they draw what has been computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from faceverif.classification.outputs import Drawn, LikelihoodMap, RunOutputs
from faceverif.report.numbers import percent
from faceverif.report.plotting import COLOURS, INK, LineStyle, Panel, legend_below, new_panel

_MOST_DOTS = 5000
# Beyond that many classes their numbers would hide the dots.
_MOST_LABELLED = 20
# More dots than that are drawn as pixels.
_MOST_DRAWN = 300
# Log-likelihood below the best at which the heat map is at its darkest.
_DARKEST = 25.0


def scatter_panels(runs: Mapping[str, Drawn]) -> list[Panel]:
    """Embeddings in two dimensions by class, one panel per run (L-GM, Fig. 1 a to e; GSC, Fig. 2).

    Args:
        runs: name -> embeddings; those of more dimensions say how much of their variance is seen.
    """
    panels = []
    for name, drawn in runs.items():
        figure, axes = new_panel(height_in=3.6)
        _draw_classes(axes, drawn)
        if len(np.unique(drawn.labels)) <= _MOST_LABELLED:
            _label_classes(axes, drawn)
        axes.set(title=name)
        if not drawn.in_the_plane:
            axes.set_xlabel(f"PCA, {percent(drawn.explained)} % of variance", fontsize=8)
        text = f"Embeddings of {len(drawn.labels):,} images in the plane under {name}."
        panels.append(Panel(name, figure, f"{text} {_classes_text(drawn)}"))
    return panels


def likelihood_panels(runs: Mapping[str, tuple[Drawn, LikelihoodMap]]) -> list[Panel]:
    """Heat maps of the log-likelihood with the embeddings on them, one panel per run (L-GM, Fig. 1 f).

    Args:
        runs: name -> embeddings of two dimensions, and the map around them.
    """
    panels = []
    for name, (drawn, heat) in runs.items():
        figure, axes = new_panel(height_in=3.2)
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
        shown = drawn.embeddings[_thinned(len(drawn.labels))]
        # A colour that neither end of the map has.
        axes.plot(
            *shown.T,
            linestyle="none",
            marker=".",
            markersize=1.2,
            color="#22d3ee",
            alpha=0.6,
            rasterized=len(shown) > _MOST_DRAWN,
        )
        axes.grid(False)
        axes.set(title=name, xlim=(heat.left, heat.right), ylim=(heat.bottom, heat.top))
        figure.colorbar(picture, ax=axes, label="log-likelihood of the predicted class", extend="min")
        text = f"Log-likelihood under {name}: at most {best:.4g}, drawn down to {best - _DARKEST:.4g}; "
        panels.append(Panel(name, figure, f"{text}dots are the embeddings of {len(shown):,} images."))
    return panels


def reliability_panels(
    runs: Mapping[str, RunOutputs], *, ece: Mapping[str, float], styles: Mapping[str, LineStyle]
) -> list[Panel]:
    """Accuracy by confidence, one panel per run, with the expected calibration error (GSC, Fig. 2).

    Args:
        runs: name -> outputs.
        ece: name -> expected calibration error, as the run's result has it.
        styles: how each is drawn; bars take its colour.
    """
    panels = []
    for name, outputs in runs.items():
        figure, axes = new_panel()
        width = 1 / len(outputs.counts)
        full = np.flatnonzero(outputs.counts)
        left, middle = width * full, width * (full + 0.5)
        axes.bar(middle, outputs.accuracy[full], 0.9 * width, color=styles[name]["color"], alpha=0.75)
        axes.hlines(outputs.confidence[full], left, left + width, color=INK, linewidth=1.8)
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.text(0.04, 0.95, f"ECE {percent(ece[name])} %", va="top", transform=axes.transAxes)
        axes.set(title=name, xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
        bins = (f"{outputs.accuracy[each]:.3f} at confidence {outputs.confidence[each]:.3f}" for each in full)
        text = f"Accuracy by confidence under {name}, expected calibration error {percent(ece[name])} %: "
        panels.append(Panel(name, figure, f"{text}{', '.join(bins)}."))
    return panels


def angles_panels(
    sets: Mapping[str, Mapping[str, Sequence[float | None]]], *, styles: Mapping[str, LineStyle]
) -> list[Panel]:
    """Mean angle between embeddings and their class weight, a group of bars a class (W-Softmax, Fig. 5).

    Args:
        sets: title of a panel, such as "training images" -> name of a run -> mean angle of each class, in
            degrees; None or NaN for a class without an image.
        styles: how each run is drawn; bars take its colour.
    """
    panels = [_angles_panel(title, runs, styles=styles) for title, runs in sets.items()]
    highest = max(panel.figure.axes[0].get_ylim()[1] for panel in panels)
    for panel in panels:
        panel.figure.axes[0].set_ylim(0, highest)
    return panels


def _angles_panel(
    title: str, runs: Mapping[str, Sequence[float | None]], *, styles: Mapping[str, LineStyle]
) -> Panel:
    figure, axes = new_panel()
    classes = len(next(iter(runs.values())))
    width = 0.84 / len(runs)
    parts = []
    for number, (name, angles) in enumerate(runs.items()):
        left = np.arange(classes) - 0.42 + (number + 0.5) * width
        heights = [math.nan if angle is None else angle for angle in angles]
        axes.bar(left, heights, 0.9 * width, color=styles[name]["color"], label=name)
        measured = [angle for angle in heights if math.isfinite(angle)]
        if measured:
            parts.append(f"{name} {min(measured):.1f} to {max(measured):.1f} degrees")
    axes.set(title=title.capitalize(), xlabel="class", ylabel="degrees")
    axes.locator_params(axis="x", nbins=min(classes, 10), integer=True)
    axes.grid(False, axis="x")
    legend_below(figure)
    about = f"Mean angle to the own class weight over {classes} classes, {title}"
    return Panel(title.replace(" ", "-"), figure, f"{about}: {'; '.join(parts)}.")


def _classes_text(drawn: Drawn) -> str:
    middles = (
        (label, np.median(drawn.embeddings[drawn.labels == label], axis=0))
        for label in np.unique(drawn.labels)[:10]
    )
    return "Medians: " + ", ".join(f"class {label} at {x:.3g}, {y:.3g}" for label, (x, y) in middles) + "."


def _thinned(count: int) -> slice:
    """Evenly spread indices, few enough that dots stay apart."""
    return slice(None, None, max(1, count // _MOST_DOTS))


def _draw_classes(axes: Axes, drawn: Drawn) -> None:
    shown = _thinned(len(drawn.labels))
    size = min(8.0, max(1.5, 3000 / len(drawn.labels)))
    embeddings, labels = drawn.embeddings[shown], drawn.labels[shown]
    for label in np.unique(drawn.labels):
        own = embeddings[labels == label]
        axes.scatter(
            own[:, 0],
            own[:, 1],
            s=size,
            color=COLOURS[label % len(COLOURS)],
            linewidths=0,
            rasterized=len(labels) > _MOST_DRAWN,
        )


def _label_classes(axes: Axes, drawn: Drawn) -> None:
    """The class's number at the middle of its embeddings: ten colours are more than many can tell apart."""
    for label in np.unique(drawn.labels):
        across, upwards = np.median(drawn.embeddings[drawn.labels == label], axis=0)
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
