"""The figures of a rejection experiment; they draw what has been computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from faceverif.report.plotting import FAINT, GENUINE, IMPOSTOR, INK, PERCENT, line_styles, new_panels
from faceverif.verification.metrics import equal_error_rate
from robustness.rejection.findings import Finding, Row, Spread
from robustness.rejection.outcome import clean_against_attacked
from robustness.rejection.trial_files import TrialScores

_BINS = 60
# Its score is minus the largest posterior probability.
POSTERIOR = "max_probability"
_POSTERIOR_BINS = 25
# Share of the scores that may lie beyond each end of a histogram.
_CUT = 0.005
# In a strip, in units of a column's width: side of an image, height of its row, and of the text below it.
_IMAGE, _ROW, _TEXT = 0.84, 0.9, 0.36
# A model's line, as `faceverif.report.plotting.line_styles` makes it.
Style = Mapping[str, Any]


def sweep_figure(rows: Sequence[Row], styles: Mapping[str, Style], *, rate: str) -> Figure:
    """Over the size of an attack: its success, the detector's EER, and what gets through undetected.

    Args:
        rows: of one attack, all models and sizes.
        styles: of every model, the same in all figures.
        rate: of false rejections, whose threshold decides what is undetected.
    """
    figure, panels = new_panels(3)
    figures: tuple[tuple[str, Callable[[Row], Spread]], ...] = (
        ("Success", lambda row: row.success),
        ("Equal error rate", lambda row: row.eer),
        (f"Success, undetected at {100 * float(rate):g} %", lambda row: row.undetected[rate]),
    )
    # Evenly spaced: on a true scale the whole box would squeeze the small sizes together.
    places = {epsilon: place for place, epsilon in enumerate(sorted({row.epsilon for row in rows}))}
    by_model: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.epsilon):
        by_model.setdefault(row.model, []).append(row)
    for axes, (title, of_row) in zip(panels, figures, strict=True):
        for model, own in by_model.items():
            spreads = [of_row(row) for row in own]
            _line(axes, [places[row.epsilon] for row in own], spreads, style=styles[model], label=model)
        axes.set(title=title, xlabel="epsilon, not to scale", ylim=(-0.03, 1.03))
        axes.set_xticks(list(places.values()), [f"{epsilon:.2g}" for epsilon in places])
        axes.yaxis.set_major_formatter(PERCENT)
    _legend_below(figure, panels[0])
    return figure


def escapes_figure(rows: Sequence[Row], *, rate: str) -> Figure:
    """Over epsilon, the success of every attack that escapes the model's detector; one panel per model.

    Args:
        rows: of the attacks in one norm, each with the model's own detector, at every size that is shown.
        rate: of false rejections, whose threshold decides what escapes.
    """
    models = list(dict.fromkeys(row.model for row in rows))
    styles = line_styles(dict.fromkeys(row.label for row in rows))
    figure, panels = new_panels(max(len(models), 2))
    for axes in panels[len(models) :]:
        axes.set_axis_off()
    for axes, model in zip(panels, models, strict=False):
        by_label: dict[str, list[Row]] = {}
        for row in sorted((row for row in rows if row.model == model), key=lambda row: row.epsilon):
            by_label.setdefault(row.label, []).append(row)
        for label, own in by_label.items():
            spreads = [row.undetected[rate] for row in own]
            _line(axes, [row.epsilon for row in own], spreads, style=styles[label], label=label)
        axes.set(title=model, xlabel="epsilon", ylim=(-0.03, 1.03))
        axes.yaxis.set_major_formatter(PERCENT)
    _legend_below(figure, panels[0])
    return figure


def curves_figure(
    scores: Mapping[str, TrialScores], detectors: Mapping[str, str], styles: Mapping[str, Style]
) -> Figure:
    """ROC and DET of telling attacked from clean images, one line per model (L-GM, Fig. 5).

    Args:
        scores: model -> what its images scored.
        detectors: model -> the detector whose scores are drawn.
        styles: of every model, the same in all figures.
    """
    figure, (roc_axes, det_axes) = new_panels(2)
    for model, its in scores.items():
        roc = clean_against_attacked(its.clean[detectors[model]], its.attacked[detectors[model]])
        point = equal_error_rate(roc)
        label = f"{model}, EER {100 * point.equal_error:.1f} %"
        roc_axes.step(roc.far, roc.tar, where="post", **styles[model], linewidth=1.6, label=label)
        left, bottom = 0.5 / roc.impostors, 0.5 / roc.genuine
        far, frr = np.maximum(roc.far, left), np.maximum(1 - roc.tar, bottom)
        det_axes.step(far, frr, where="post", **styles[model], linewidth=1.6)
        dot = [max(point.far, left)], [max(point.frr, bottom)]
        det_axes.plot(*dot, "o", color=styles[model]["color"], markersize=4)
    roc_axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 4)))
    roc_axes.set(title="ROC", xlabel="clean images rejected", ylabel="attacked images rejected")
    det_axes.set(title="DET", xlabel="clean images rejected", ylabel="attacked images accepted")
    det_axes.set(xscale="log", yscale="log")
    for axis in (roc_axes.xaxis, roc_axes.yaxis, det_axes.xaxis, det_axes.yaxis):
        axis.set_major_formatter(PERCENT)
        axis.set_minor_formatter(NullFormatter())
    _legend_below(figure, roc_axes)
    return figure


def queries_figure(scores: Mapping[str, TrialScores], styles: Mapping[str, Style]) -> Figure:
    """Success over the queries that an attack has made about each image, one line per model.

    Args:
        scores: model -> what its images scored; with counts of queries.
        styles: of every model, the same in all figures.
    """
    figure, (axes, beside) = new_panels(2)
    beside.set_axis_off()
    for model, its in scores.items():
        queries, share = success_over_queries(its)
        axes.step(queries, share, where="post", **styles[model], linewidth=1.6, label=model)
    axes.set(title="Success over queries", xlabel="queries about each image", ylim=(-0.03, 1.03))
    axes.yaxis.set_major_formatter(PERCENT)
    _legend_below(figure, axes)
    return figure


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


def histogram_figure(scores: Mapping[str, TrialScores], findings: Mapping[str, Finding]) -> Figure:
    """Scores of clean and attacked images with the thresholds, one panel per model (L-GM, Figs. 4 and 6).

    Args:
        scores: model -> what its images scored.
        findings: model -> the trial, whose own detector is drawn.
    """
    figure, panels = new_panels(max(len(scores), 2))
    for axes in panels[len(scores) :]:
        axes.set_axis_off()
    for axes, (model, its) in zip(panels, scores.items(), strict=False):
        detector = next(iter(findings[model].detectors))
        clean, attacked = its.clean[detector], its.attacked[detector]
        bins = _bins(np.concatenate([clean, attacked]))
        _draw_histograms(axes, clean, attacked, bins)
        for detection in findings[model].own["detections"]:
            axes.axvline(detection["point"]["threshold"], color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set(title=model, xlabel=f"score of {detector}")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.margins(x=0.01)
    _legend_below(figure, panels[0])
    return figure


def posterior_figure(scores: Mapping[str, TrialScores]) -> Figure:
    """The probability p_max of the predicted class, clean and attacked, one panel per model (L-GM, Fig. 3).

    Args:
        scores: model -> what its images scored, with the detector max_probability, whose score is -p_max.
    """
    figure, panels = new_panels(max(len(scores), 2))
    for axes in panels[len(scores) :]:
        axes.set_axis_off()
    bins = np.linspace(0.0, 1.0, _POSTERIOR_BINS + 1)
    for axes, (model, its) in zip(panels, scores.items(), strict=False):
        _draw_histograms(axes, -its.clean[POSTERIOR], -its.attacked[POSTERIOR], bins)
        axes.set(title=model, xlabel="p_max", xlim=(0, 1))
    _legend_below(figure, panels[0])
    return figure


def _draw_histograms(
    axes: Axes, clean: NDArray[np.float64], attacked: NDArray[np.float64], bins: NDArray[np.float64]
) -> None:
    for side, colour, label in ((clean, GENUINE, "clean"), (attacked, IMPOSTOR, "attacked")):
        share = np.histogram(np.clip(side, bins[0], bins[-1]), bins)[0] / len(side)
        axes.stairs(share, bins, fill=True, color=colour, alpha=0.35, label=label)
        axes.stairs(share, bins, color=colour, linewidth=1.1)
    axes.yaxis.set_major_formatter(PERCENT)


def strip_figure(finding: Finding) -> Figure:
    """A few images: clean, the change, attacked. Below them stand the decision and the score.

    The decision is the true and the predicted class, or for pairs the cosine with the reference, which is
    shown on top. The score is orange if the image is rejected.
    """
    pictures = finding.pictures()
    clean, attacked = pictures["clean"], pictures["attacked"]
    largest = max(float(np.abs(attacked - clean).max()), 1e-6)
    rows = {"clean": clean, "change": 0.5 + (attacked - clean) / (2 * largest), "attacked": attacked}
    if "reference" in pictures:
        rows = {"reference": pictures["reference"]} | rows
    texts = _texts(finding)
    heights = [_ROW + _TEXT * (name in texts) for name in rows]
    tops = [sum(heights[:row]) for row in range(len(rows))]
    # One pair of axes for all images: one for each would take seconds to draw.
    figure = Figure(figsize=(9.6, 9.6 * sum(heights) / len(clean)), layout="constrained")
    axes = figure.add_subplot()
    for top, (name, images) in zip(tops, rows.items(), strict=True):
        for column, image in enumerate(np.clip(images, 0, 1).transpose(0, 2, 3, 1)):
            place = (column, column + _IMAGE, top + _IMAGE, top)
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1, extent=place)
            if name in texts:
                _write_below(axes, *texts[name][column], at=(column + _IMAGE / 2, top + _ROW))
    axes.set(xlim=(0, len(clean)), ylim=(sum(heights), 0), xticks=[])
    axes.set_yticks([top + _IMAGE / 2 for top in tops], list(rows))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def _write_below(axes: Axes, line: str, score: str, rejected: bool, *, at: tuple[float, float]) -> None:
    across, down = at
    colour = IMPOSTOR if rejected else GENUINE
    axes.text(across, down, line, ha="center", va="top", fontsize=8)
    axes.text(across, down + _TEXT / 2, score, color=colour, ha="center", va="top", fontsize=8, weight="bold")


def _texts(finding: Finding) -> dict[str, list[tuple[str, str, bool]]]:
    """Two lines for every image, and whether it is rejected, before and after the attack."""
    scores, detector = finding.scores(), next(iter(finding.detectors))
    point = finding.points[max(finding.points)]
    sides = {"clean": scores.clean[detector], "attacked": scores.attacked[detector]}
    texts: dict[str, list[tuple[str, str, bool]]] = {}
    for number, (side, its) in enumerate(sides.items()):
        if scores.similarity is not None:
            lines = [f"cosine {cosine:.2f}" for cosine in scores.similarity[number]]
        else:
            assert scores.classes is not None  # else it is of pairs
            label, *predicted = scores.classes
            lines = [f"{true} → {said}" for true, said in zip(label, predicted[number], strict=True)]
        rejected = point.rejects(its).tolist()
        texts[side] = [
            (line, f"{score:.3g}", gone) for line, score, gone in zip(lines, its, rejected, strict=True)
        ]
    return texts


def _legend_below(figure: Figure, axes: Axes) -> None:
    """Below the panels, where it covers no curve."""
    handles, labels = axes.get_legend_handles_labels()
    columns = min(len(labels), 4)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.2 * math.ceil(len(labels) / columns))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def _line(axes: Axes, places: Sequence[float], spreads: list[Spread], *, style: Style, label: str) -> None:
    """The means, and behind them one standard deviation or the interval."""
    means = [spread.mean for spread in spreads]
    axes.plot(places, means, **style, marker="o", markersize=3.5, label=label)
    bands = [_band(spread) for spread in spreads]
    lows, highs = zip(*bands, strict=True)
    axes.fill_between(places, lows, highs, color=style["color"], alpha=0.15, linewidth=0)


def _band(spread: Spread) -> tuple[float, float]:
    if spread.sd is not None:
        return spread.mean - spread.sd, spread.mean + spread.sd
    low, high = (spread.mean if bound is None else bound for bound in (spread.low, spread.high))
    return low, high


def _bins(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bins over nearly all scores; the others are drawn at the ends."""
    low, high = np.quantile(scores, (_CUT, 1 - _CUT))
    return np.linspace(low, max(high, low + 1e-6), _BINS + 1)
