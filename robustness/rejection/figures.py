"""The figures of a rejection experiment; they draw what has been computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from faceverif.report.curves import Line, lines_panel
from faceverif.report.plotting import (
    AXIS,
    FAINT,
    INK,
    PERCENT,
    LineStyle,
    Mark,
    Panel,
    legend_below,
    line_styles,
    new_panel,
)
from faceverif.verification.figures import roc_points
from faceverif.verification.roc import equal_error_rate
from robustness.rejection.findings import Finding, Row, Spread
from robustness.rejection.outcome import clean_against_attacked
from robustness.rejection.trial_files import TrialScores

_BINS = 60
# Its score is minus the largest posterior probability.
POSTERIOR = "max_probability"
_POSTERIOR_BINS = 25
# Share of the scores that may lie beyond each end of a histogram.
_CUT = 0.005
# More ticks than that are tilted.
_LEVEL_TICKS = 6


def sweep_panels(rows: Sequence[Row], styles: Mapping[str, LineStyle], *, rate: float) -> list[Panel]:
    """Over the size of an attack: its success, the detector's EER, and what gets through undetected.

    Args:
        rows: of one attack, all models and sizes.
        styles: of every model, the same in all figures.
        rate: of false rejections, whose threshold decides what is undetected.
    """
    figures: tuple[tuple[str, str, Callable[[Row], Spread]], ...] = (
        ("success", "Success", lambda row: row.success),
        ("eer", "Equal error rate", lambda row: row.eer),
        ("undetected", f"Undetected at {100 * rate:g} %", lambda row: row.undetected[rate]),
    )
    # Evenly spaced: on a true scale the whole box would squeeze the small sizes together.
    places = {epsilon: place for place, epsilon in enumerate(sorted({row.epsilon for row in rows}))}
    by_model: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.epsilon):
        by_model.setdefault(row.model, []).append(row)
    panels = []
    for name, title, of_row in figures:
        lines = [_line(model, own, places, styles[model], of_row) for model, own in by_model.items()]
        panel = lines_panel(name, title, lines, across=f"epsilon ({rows[0].norm}), not to scale", rates=True)
        [axes] = panel.figure.axes
        axes.set_ylim(-0.03, 1.03)
        axes.set_xticks(list(places.values()), [f"{epsilon:.2g}" for epsilon in places])
        if len(places) > _LEVEL_TICKS:
            axes.tick_params("x", labelrotation=40)
        panels.append(replace(panel, alt=_sweep_text(title, by_model, of_row)))
    return panels


def escapes_panels(rows: Sequence[Row], *, rate: float, models: Sequence[str]) -> list[Panel]:
    """Over epsilon, the success of every attack that escapes the model's detector; one panel per model.

    Args:
        rows: of the attacks in one norm, each with the model's own detector, at every size that is shown.
        rate: of false rejections, whose threshold decides what escapes.
        models: of the page; an attack has a colour that is no model's.
    """
    styles = line_styles([*models, *dict.fromkeys(row.label for row in rows)])
    panels = []
    for model in dict.fromkeys(row.model for row in rows):
        by_label: dict[str, list[Row]] = {}
        for row in sorted((row for row in rows if row.model == model), key=lambda row: row.epsilon):
            by_label.setdefault(row.label, []).append(row)
        lines = [
            _line(label, own, None, styles[label], lambda row: row.undetected[rate])
            for label, own in by_label.items()
        ]
        panel = lines_panel(model, model, lines, across=f"epsilon ({rows[0].norm})", rates=True)
        panel.figure.axes[0].set_ylim(-0.03, 1.03)
        text = _sweep_text(f"Undetected success on {model}", by_label, lambda row: row.undetected[rate])
        panels.append(replace(panel, alt=text))
    return panels


def _line(
    name: str,
    rows: Sequence[Row],
    places: Mapping[float, int] | None,
    style: LineStyle,
    of_row: Callable[[Row], Spread],
) -> Line:
    """The means, and behind them one standard deviation or the interval; over epsilon or its places."""
    spreads = [of_row(row) for row in rows]
    lows, highs = zip(*map(_band, spreads), strict=True)
    across = [row.epsilon if places is None else places[row.epsilon] for row in rows]
    return Line(name, across, [each.mean for each in spreads], style, marker="o", low=lows, high=highs)


def _sweep_text(title: str, by_model: Mapping[str, Sequence[Row]], of_row: Callable[[Row], Spread]) -> str:
    parts = (
        f"{model}: " + ", ".join(f"{100 * of_row(row).mean:.1f} % at {row.epsilon:.3g}" for row in rows)
        for model, rows in by_model.items()
    )
    return f"{title} over epsilon. {'; '.join(parts)}."


def curves_panels(
    scores: Mapping[str, TrialScores], detectors: Mapping[str, str], styles: Mapping[str, LineStyle]
) -> list[Panel]:
    """ROC and DET of telling attacked from clean images, one line per model (L-GM, Fig. 5).

    Args:
        scores: model -> what its images scored.
        detectors: model -> the detector whose scores are drawn.
        styles: of every model, the same in all figures.
    """
    roc_figure, roc_axes = new_panel()
    det_figure, det_axes = new_panel()
    marks: list[Mark] = []
    parts = []
    for model, its in scores.items():
        roc = clean_against_attacked(its.clean[detectors[model]], its.attacked[detectors[model]])
        point = equal_error_rate(roc)
        label = f"{model}, EER {100 * point.equal_error:.1f} %"
        roc_axes.step(roc.far, roc.tar, where="post", **styles[model], linewidth=1.6, label=label)
        colour = styles[model]["color"]
        marks += (
            Mark(at.far, at.tar, at.numbers(far="clean rejected", tar="attacked rejected"), model, colour)
            for at in roc_points(roc)
        )
        left, bottom = 0.5 / roc.impostors, 0.5 / roc.genuine
        far, frr = np.maximum(roc.far, left), np.maximum(1 - roc.tar, bottom)
        det_axes.step(far, frr, where="post", **styles[model], linewidth=1.6, label=label)
        dot = [max(point.far, left)], [max(point.frr, bottom)]
        det_axes.plot(*dot, "o", color=styles[model]["color"], markersize=4)
        parts.append(f"{model} {100 * point.equal_error:.1f} %")
    roc_axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 4)))
    roc_axes.set(title="ROC", xlabel="clean images rejected", ylabel="attacked images rejected")
    det_axes.set(title="DET", xlabel="clean images rejected", ylabel="attacked images accepted")
    det_axes.set(xscale="log", yscale="log")
    for axis in (roc_axes.xaxis, roc_axes.yaxis, det_axes.xaxis, det_axes.yaxis):
        axis.set_major_formatter(PERCENT)
        axis.set_minor_formatter(NullFormatter())
    for figure in (roc_figure, det_figure):
        legend_below(figure)
    rates = f"over the share of clean images rejected. Equal error rates: {', '.join(parts)}."
    return [
        Panel("roc", roc_figure, f"Share of attacked images rejected {rates}", marks),
        Panel("det", det_figure, f"Share of attacked images accepted {rates}"),
    ]


def queries_panel(scores: Mapping[str, TrialScores], styles: Mapping[str, LineStyle]) -> Panel:
    """Success over the queries that an attack has made about each image, one line per model.

    Args:
        scores: model -> what its images scored; with counts of queries.
        styles: of every model, the same in all figures.
    """
    figure, axes = new_panel()
    parts = []
    for model, its in scores.items():
        queries, share = success_over_queries(its)
        axes.step(queries, share, where="post", **styles[model], linewidth=1.6, label=model)
        parts.append(f"{model} {100 * share[-1]:.1f} % after {queries[-1]:,}")
    axes.set(title="Success over queries", xlabel="queries about each image", ylim=(-0.03, 1.03))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    legend_below(figure)
    return Panel("", figure, f"Success over the queries about each image: {'; '.join(parts)}.")


def success_over_queries(scores: TrialScores) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The curve of a black-box attack: queries, growing, and the share that has succeeded by then.

    The share is of the images that are correct before the attack. The curve begins at (0, 0) and ends at the
    most queries that were made.

    Args:
        scores: of its images; with counts of queries.
    """
    assert scores.queries is not None
    needed = np.sort(scores.queries[scores.verdicts.success])
    queries = np.concatenate([[0], needed, [scores.queries.max()]])
    succeeded = np.concatenate([[0], np.arange(1, len(needed) + 1), [len(needed)]])
    return queries, succeeded / max(int(scores.verdicts.clean_correct.sum()), 1)


def histogram_panels(
    scores: Mapping[str, TrialScores], findings: Mapping[str, Finding], styles: Mapping[str, LineStyle]
) -> list[Panel]:
    """Scores of clean and attacked images with the thresholds, one panel per model (L-GM, Figs. 4 and 6).

    Args:
        scores: model -> what its images scored.
        findings: model -> the trial, whose own detector is drawn.
        styles: of every model; attacked images have its colour.
    """
    panels = []
    for model, its in scores.items():
        figure, axes = new_panel()
        detector = findings[model].own_detector
        clean, attacked = its.clean[detector], its.attacked[detector]
        bins = _bins(np.concatenate([clean, attacked]))
        medians = _draw_histograms(axes, clean, attacked, bins, colour=styles[model]["color"])
        thresholds = [detection.point.threshold for detection in findings[model].own.detections]
        for threshold in thresholds:
            axes.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set(title=model, xlabel=f"score of {detector}")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.margins(x=0.01)
        legend_below(figure)
        text = f"Scores of {detector} for {model}: {medians}; thresholds {_listed(thresholds)}."
        panels.append(Panel(model, figure, text))
    return panels


def posterior_panels(scores: Mapping[str, TrialScores], styles: Mapping[str, LineStyle]) -> list[Panel]:
    """The probability p_max of the predicted class, clean and attacked, one panel per model (L-GM, Fig. 3).

    Args:
        scores: model -> what its images scored, with the detector max_probability, whose score is -p_max.
        styles: of every model; attacked images have its colour.
    """
    bins = np.linspace(0.0, 1.0, _POSTERIOR_BINS + 1)
    panels = []
    for model, its in scores.items():
        figure, axes = new_panel()
        colour = styles[model]["color"]
        medians = _draw_histograms(axes, -its.clean[POSTERIOR], -its.attacked[POSTERIOR], bins, colour=colour)
        axes.set(title=model, xlabel="p_max", xlim=(0, 1))
        legend_below(figure)
        panels.append(Panel(model, figure, f"Probability of the predicted class under {model}: {medians}."))
    return panels


def _draw_histograms(
    axes: Axes,
    clean: NDArray[np.float64],
    attacked: NDArray[np.float64],
    bins: NDArray[np.float64],
    *,
    colour: str,
) -> str:
    """Draw both in one pair of axes; returns their medians in words."""
    parts = []
    for side, its, label in ((clean, AXIS, "clean"), (attacked, colour, "attacked")):
        share = np.histogram(np.clip(side, bins[0], bins[-1]), bins)[0] / len(side)
        axes.stairs(share, bins, fill=True, color=its, alpha=0.35, label=label)
        axes.stairs(share, bins, color=its, linewidth=1.1)
        parts.append(f"{label} images have a median of {np.median(side):.3g}")
    axes.yaxis.set_major_formatter(PERCENT)
    return ", ".join(parts)


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.3g}" for number in numbers)


def _band(spread: Spread) -> tuple[float, float]:
    if spread.sd is not None:
        return spread.mean - spread.sd, spread.mean + spread.sd
    low, high = (spread.mean if bound is None else bound for bound in (spread.low, spread.high))
    return low, high


def _bins(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bins over nearly all scores; the others are drawn at the ends."""
    low, high = np.quantile(scores, (_CUT, 1 - _CUT))
    return np.linspace(low, max(high, low + 1e-6), _BINS + 1)
