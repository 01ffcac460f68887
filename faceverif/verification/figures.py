"""The pictures of a verification: ROC, DET, scores, and the pairs that were hardest."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray
from PIL import Image

from data_prep.atomic import written_whole
from data_prep.dataset.crops import side_by_side
from faceverif.report.numbers import percent
from faceverif.report.plotting import (
    ACCENT,
    FAINT,
    GENUINE,
    IMPOSTOR,
    INK,
    PERCENT,
    LineStyle,
    figure_png,
    house_style,
    new_figure,
)
from faceverif.verification.metrics import Roc
from faceverif.verification.result import VerificationResult

PAIRS_NAME = "pairs"
HARDEST = 8

_JPEG_QUALITY = 92


def write_figures(result: VerificationResult, folder: Path) -> None:
    """Write roc.png, det.png and scores.png, and the hardest pairs as pairs/ROW.jpg, after its row."""
    for name, draw in (("roc", roc_figure), ("det", det_figure), ("scores", scores_figure)):
        with house_style(), written_whole(folder / f"{name}.png") as unfinished:
            unfinished.write_bytes(figure_png(draw(result)))
    _write_pairs(result, folder / PAIRS_NAME)


def roc_figure(result: VerificationResult) -> Figure:
    """TAR over FAR, as steps, on a logarithmic FAR axis that ends where the impostor pairs end."""
    figure, axes = new_figure()
    roc, eer = result.metrics.roc, result.metrics.eer
    smallest = _far_axis(axes, roc.impostors)
    # A step at FAR 0 has no place on a logarithmic axis: it enters from the left edge.
    axes.step(np.maximum(roc.far, smallest), roc.tar, where="post", color=ACCENT, linewidth=1.8)
    axes.plot([max(eer.far, smallest)], [eer.tar], "o", color=INK, markersize=5)
    axes.annotate(
        f"EER {percent(result.eer)} %",
        (max(eer.far, smallest), eer.tar),
        (8, -14),
        textcoords="offset points",
    )
    lowest = float(roc.tar[np.searchsorted(roc.false_accepts, 1, side="right") - 1])
    axes.set_ylim(max(0.0, 1 - 1.3 * max(1 - lowest, 0.005)), 1 + 0.05 * max(1 - lowest, 0.005))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set(title="ROC", ylabel="true accept rate")
    return figure


def roc_curves_figure(rocs: Mapping[str, Roc], *, styles: Mapping[str, LineStyle]) -> Figure:
    """TAR over FAR of several models on the same pairs, one line per model.

    Args:
        rocs: name of the model -> its curve.
        styles: how each is drawn.
    """
    figure, axes = new_figure(wide=True)
    smallest = _far_axis(axes, max(roc.impostors for roc in rocs.values()))
    for name, roc in rocs.items():
        far = np.maximum(roc.far, smallest)
        axes.step(far, roc.tar, where="post", linewidth=1.6, label=name, **styles[name])
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set(ylabel="true accept rate")
    axes.legend(frameon=False, fontsize=8)
    return figure


def det_figure(result: VerificationResult) -> Figure:
    """FRR over FAR, both logarithmic, with the line on which they meet."""
    figure, axes = new_figure()
    roc, eer = result.metrics.roc, result.metrics.eer
    left = _far_axis(axes, roc.impostors)
    bottom = 0.5 / roc.genuine
    axes.plot([max(left, bottom), 1], [max(left, bottom), 1], color=FAINT, linewidth=1, linestyle=(0, (4, 4)))
    far, frr = np.maximum(roc.far, left), np.maximum(1 - roc.tar, bottom)
    axes.step(far, frr, where="post", color=ACCENT, linewidth=1.8)
    point = (max(eer.far, left), max(eer.frr, bottom))
    axes.plot(*[[value] for value in point], "o", color=INK, markersize=5)
    axes.annotate(f"EER {percent(result.eer)} %", point, (9, 5), textcoords="offset points")
    axes.set_yscale("log")
    axes.set_ylim(bottom, 1)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(title="DET", ylabel="false reject rate")
    return figure


def scores_figure(result: VerificationResult) -> Figure:
    """How genuine and impostor pairs score, and where the folds' thresholds lie."""
    figure, axes = new_figure(wide=True)
    scored = result.protocol.scored
    scores, same = result.scores[scored], result.protocol.same[scored]
    bins = _score_bins(scores)
    for kind, name, colour, edge in (
        (~same, "impostor pairs", IMPOSTOR, 0.0),
        (same, "genuine pairs", GENUINE, 1.0),
    ):
        share = np.histogram(scores[kind], bins)[0] / kind.sum()
        axes.stairs(share, bins, fill=True, color=colour, alpha=0.35)
        axes.stairs(share, bins, color=colour, linewidth=1.2)
        axes.text(
            0.01 + 0.98 * edge,
            0.97,
            name,
            transform=axes.transAxes,
            color=colour,
            weight="bold",
            va="top",
            ha="right" if edge else "left",
        )
    _mark_threshold(axes, result.metrics.folds.thresholds)
    axes.margins(x=0.01, y=0.18)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set(title="Scores", xlabel=f"{result.similarity} similarity", ylabel="share of the pairs")
    return figure


def _mark_threshold(axes: Axes, thresholds: NDArray[np.float64]) -> None:
    """The folds' mean threshold as a line, their range as a band."""
    middle = float(thresholds.mean())
    axes.axvspan(thresholds.min(), thresholds.max(), color=INK, alpha=0.15, linewidth=0)
    axes.axvline(middle, color=INK, linewidth=1)
    axes.annotate(
        f"threshold {middle:.3f}",
        (middle, 0.97),
        (5, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
    )


def _far_axis(axes: Axes, impostors: int) -> float:
    """A logarithmic FAR axis down to half of one false accept; returns its left end."""
    smallest = 0.5 / impostors
    axes.set_xscale("log")
    axes.set_xlim(smallest, 1)
    axes.axvspan(smallest, 1 / impostors, color=FAINT, alpha=0.25, linewidth=0)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(f"false accept rate (grey: less than one of {impostors:,} impostor pairs)")
    return smallest


def _score_bins(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bins of one width for both kinds, as fine as the number of pairs allows."""
    low, high = float(scores.min()), float(scores.max())
    count = int(np.clip(2 * math.sqrt(len(scores)), 12, 90))
    return np.linspace(low, max(high, low + 1e-3), count + 1)


def hardest_pairs(result: VerificationResult, *, same: bool, count: int = HARDEST) -> NDArray[np.int64]:
    """Scored pairs with both pictures, hardest first: genuine ones of low, impostors of high similarity."""
    there = ~result.photos.pairs_with(result.photos.no_crop)
    rows = np.flatnonzero(result.protocol.scored & (result.protocol.same == same) & there)
    order = np.argsort(result.scores[rows] if same else -result.scores[rows], kind="stable")
    return rows[order][:count]


def _write_pairs(result: VerificationResult, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # those of an earlier verification are of other rows
    photos = result.photos
    for pair in [*hardest_pairs(result, same=True), *hardest_pairs(result, same=False)]:
        crops = result.dataset.crops.read(photos.rows[[photos.left[pair], photos.right[pair]]])
        with written_whole(folder / f"{pair}.jpg") as unfinished:
            Image.fromarray(side_by_side(crops)).save(unfinished, quality=_JPEG_QUALITY)
