"""The pictures of a rejection experiment; they draw what has been computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from faceverif.classification.figures import COLOURS
from faceverif.plotting import FAINT, GENUINE, IMPOSTOR, INK, PERCENT, new_panels
from faceverif.verification.metrics import equal_error_rate
from robustness.findings import Finding, Row, Spread
from robustness.outcome import clean_against_attacked
from robustness.trials import TrialScores, file_at

_BINS = 60
# Of the scores, on either side, what may lie outside a histogram.
_CUT = 0.005
# Side of an image in a strip, as a share of its place.
_IMAGE = 0.84


def sweep_figure(rows: Sequence[Row], *, rate: str) -> Figure:
    """Over the size of an attack: its success, the detector's EER, and what gets through undetected.

    Args:
        rows: of one attack, all models and sizes.
        rate: of false rejections, whose threshold decides what is undetected.
    """
    figure, panels = new_panels(3)
    figures: tuple[tuple[str, Callable[[Row], Spread]], ...] = (
        ("Success", lambda row: row.success),
        ("Equal error rate", lambda row: row.eer),
        (f"Success, undetected at {100 * float(rate):g} %", lambda row: row.undetected[rate]),
    )
    by_model: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.epsilon):
        by_model.setdefault(row.model, []).append(row)
    for axes, (title, of_row) in zip(panels, figures, strict=True):
        for colour, (model, own) in zip(COLOURS, by_model.items(), strict=False):
            spreads = [of_row(row) for row in own]
            _line(axes, [row.epsilon for row in own], spreads, colour=colour, label=model)
        axes.set(title=title, xlabel="epsilon", ylim=(-0.03, 1.03))
        axes.yaxis.set_major_formatter(PERCENT)
    panels[0].legend(frameon=False, fontsize=8)
    return figure


def curves_figure(scores: Mapping[str, TrialScores], detectors: Mapping[str, str]) -> Figure:
    """ROC and DET of telling attacked from clean images, a line a model (L-GM, Fig. 5).

    Args:
        scores: model -> what its images scored.
        detectors: model -> the detector whose scores are drawn.
    """
    figure, (roc_axes, det_axes) = new_panels(2)
    for colour, (model, its) in zip(COLOURS, scores.items(), strict=False):
        roc = clean_against_attacked(its.clean[detectors[model]], its.attacked[detectors[model]])
        point = equal_error_rate(roc)
        label = f"{model}, EER {100 * point.equal_error:.1f} %"
        roc_axes.step(roc.far, roc.tar, where="post", color=colour, linewidth=1.6, label=label)
        left, bottom = 0.5 / roc.impostors, 0.5 / roc.genuine
        far, frr = np.maximum(roc.far, left), np.maximum(1 - roc.tar, bottom)
        det_axes.step(far, frr, where="post", color=colour, linewidth=1.6)
        det_axes.plot([max(point.far, left)], [max(point.frr, bottom)], "o", color=colour, markersize=4)
    roc_axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 4)))
    roc_axes.set(title="ROC", xlabel="clean images rejected", ylabel="attacked images rejected")
    roc_axes.legend(frameon=False, fontsize=8, loc="lower right")
    det_axes.set(title="DET", xlabel="clean images rejected", ylabel="attacked images accepted")
    det_axes.set(xscale="log", yscale="log")
    for axis in (roc_axes.xaxis, roc_axes.yaxis, det_axes.xaxis, det_axes.yaxis):
        axis.set_major_formatter(PERCENT)
        axis.set_minor_formatter(NullFormatter())
    return figure


def histogram_figure(scores: Mapping[str, TrialScores], findings: Mapping[str, Finding]) -> Figure:
    """Scores of clean and attacked images with the thresholds, a panel a model (L-GM, Figs. 4 and 6).

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
        for side, colour, label in ((clean, GENUINE, "clean"), (attacked, IMPOSTOR, "attacked")):
            share = np.histogram(np.clip(side, bins[0], bins[-1]), bins)[0] / len(side)
            axes.stairs(share, bins, fill=True, color=colour, alpha=0.35, label=label)
            axes.stairs(share, bins, color=colour, linewidth=1.1)
        for detection in findings[model].own["detections"]:
            axes.axvline(detection["point"]["threshold"], color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set(title=model, xlabel=f"score of {detector}")
        axes.margins(x=0.01)
    panels[0].legend(frameon=False, fontsize=8)
    return figure


def strip_figure(finding: Finding) -> Figure:
    """A few images: clean, what was added, attacked, and their scores; orange scores are rejected.

    Of pairs the reference stands on top, and each photo's cosine with it before the score.
    """
    with np.load(file_at(finding.stem, "npz")) as stored:
        pictures = {name: stored[name].astype(np.float32) for name in stored.files}
    clean, attacked = pictures["clean"], pictures["attacked"]
    largest = max(float(np.abs(attacked - clean).max()), 1e-6)
    rows = {"clean": clean, "change": 0.5 + (attacked - clean) / (2 * largest), "attacked": attacked}
    if "reference" in pictures:
        rows = {"reference": pictures["reference"]} | rows
    figure = Figure(figsize=(9.6, 9.6 * len(rows) / len(clean) + 0.3), layout="constrained")
    axes, texts = figure.add_subplot(), _score_texts(finding)
    # One pair of axes for all images: one for each would take seconds to draw.
    for row, (name, images) in enumerate(rows.items()):
        for column, image in enumerate(np.clip(images, 0, 1).transpose(0, 2, 3, 1)):
            place = (column, column + _IMAGE, row + _IMAGE, row)
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1, extent=place)
            if name in texts:
                text, rejected = texts[name][column]
                colour = IMPOSTOR if rejected else GENUINE
                axes.text(column + _IMAGE / 2, row + 0.98, text, color=colour, ha="center", weight="bold")
    axes.set(xlim=(0, len(clean)), ylim=(len(rows), 0), xticks=[])
    axes.set_yticks([row + _IMAGE / 2 for row in range(len(rows))], list(rows))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def _score_texts(finding: Finding) -> dict[str, list[tuple[str, bool]]]:
    """Before and after the attack, for every image what stands below it, and whether it is rejected."""
    scores, detector = finding.scores(), next(iter(finding.detectors))
    threshold = finding.own["detections"][-1]["point"]["threshold"]
    sides = {"clean": scores.clean[detector], "attacked": scores.attacked[detector]}
    texts: dict[str, list[tuple[str, bool]]] = {}
    for number, (side, its) in enumerate(sides.items()):
        cosines = (
            [""] * len(its)
            if scores.similarity is None
            else [f"{cosine:.2f} | " for cosine in scores.similarity[number]]
        )
        texts[side] = [
            (f"{cosine}{score:.3g}", bool(score > threshold))
            for cosine, score in zip(cosines, its, strict=True)
        ]
    return texts


def _line(axes: Axes, epsilons: list[float], spreads: list[Spread], *, colour: str, label: str) -> None:
    """The means, and behind them one standard deviation or the interval."""
    axes.plot(epsilons, [spread.mean for spread in spreads], "o-", color=colour, markersize=3.5, label=label)
    bands = [_band(spread) for spread in spreads]
    lows, highs = zip(*bands, strict=True)
    axes.fill_between(epsilons, lows, highs, color=colour, alpha=0.15, linewidth=0)


def _band(spread: Spread) -> tuple[float, float]:
    if spread.sd is not None:
        return spread.mean - spread.sd, spread.mean + spread.sd
    low, high = (spread.mean if bound is None else bound for bound in (spread.low, spread.high))
    return low, high


def _bins(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bins over nearly all scores; the few beyond are drawn at the ends."""
    low, high = np.quantile(scores, (_CUT, 1 - _CUT))
    return np.linspace(low, max(high, low + 1e-6), _BINS + 1)
