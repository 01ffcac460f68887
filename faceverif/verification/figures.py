"""The figures of a verification: ROC, DET and scores, drawn from the scores of its pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from data_prep.json_object import read_json
from faceverif.file_names import RESULT_NAME
from faceverif.intervals import wilson_interval
from faceverif.report.numbers import percent, rate_with_interval
from faceverif.report.plotting import (
    ACCENT,
    FAINT,
    GENUINE,
    IMPOSTOR,
    INK,
    PERCENT,
    LineStyle,
    Mark,
    Panel,
    error_rate_axis,
    legend_below,
    new_panel,
)
from faceverif.verification.files import SCORES_NAME
from faceverif.verification.roc import Roc, equal_error_rate, resolves, roc_curve, tar_at_far

# Points of a curve that tell their numbers.
_POINTS = 24
_DRAWN = 20_000  # points of a curve that are drawn: more than a picture shows
_ALONE: LineStyle = {"color": ACCENT, "linestyle": "-"}


@dataclass(frozen=True)
class ScoredPairs:
    """What the figures of a verification are drawn from.

    Attributes:
        scores: (pairs,) of the scored folds, or of all pairs.
        same: (pairs,) True for genuine pairs.
        thresholds: (scored folds,) each read from the other folds; empty where there are no folds.
        similarity: by which pairs are scored.
    """

    scores: NDArray[np.floating]
    same: NDArray[np.bool_]
    thresholds: NDArray[np.float64]
    similarity: str

    @classmethod
    def read(cls, folder: Path) -> ScoredPairs:
        """From the files of a verification."""
        facts = read_json(folder / RESULT_NAME)
        table = pq.read_table(folder / SCORES_NAME, columns=["score", "same", "scored"])
        score, same, scored = (table[name].to_numpy() for name in table.column_names)
        thresholds = np.array([fold["threshold"] for fold in facts["folds"]])
        return cls(score[scored], same[scored], thresholds, facts["similarity"])

    def roc(self) -> Roc:
        """The curve of all scored pairs."""
        return roc_curve(self.scores, self.same)


@dataclass(frozen=True)
class RocPoint:
    """A point of a ROC; rates are fractions, intervals 95 % Wilson intervals.

    Attributes:
        threshold: accept from this score on.
        far, far_interval: false accept rate.
        tar, tar_interval: true accept rate.
    """

    threshold: float
    far: float
    far_interval: tuple[float, float]
    tar: float
    tar_interval: tuple[float, float]

    def numbers(self, *, far: str = "FAR", tar: str = "TAR") -> dict[str, str]:
        """Its numbers as text; `far` and `tar` name the two rates."""
        return {
            "threshold": f"{self.threshold:.4g}",
            far: rate_with_interval(self.far, self.far_interval),
            tar: rate_with_interval(self.tar, self.tar_interval),
        }


def roc_points(roc: Roc) -> list[RocPoint]:
    """Points along a ROC, evenly over the logarithm of its FAR, from one false accept to all."""
    counts = np.unique(np.geomspace(1, roc.impostors, _POINTS).round().astype(int))
    indices = np.unique(np.searchsorted(roc.false_accepts, counts, side="right") - 1)
    points = [roc.point(int(index)) for index in indices]
    return [
        RocPoint(
            point.threshold,
            point.far,
            wilson_interval(point.false_accepts, roc.impostors),
            point.tar,
            wilson_interval(roc.genuine - point.false_rejects, roc.genuine),
        )
        for point in points
    ]


def verification_panels(pairs: ScoredPairs) -> list[Panel]:
    """ROC, DET and scores."""
    rocs = {"": pairs.roc()}
    return [roc_panel(rocs, styles={"": _ALONE}), det_panel(rocs, styles={"": _ALONE}), scores_panel(pairs)]


def roc_panel(rocs: Mapping[str, Roc], *, styles: Mapping[str, LineStyle]) -> Panel:
    """TAR over FAR, as steps, on a logarithmic FAR axis that ends where the impostor pairs end.

    Args:
        rocs: model -> its curve; one model needs no name.
        styles: model -> how it is drawn.
    """
    figure, axes = new_panel()
    smallest = _far_axis(axes, rocs.values())
    marks, misses = [], 0.005
    for model, roc in rocs.items():
        # A step at FAR 0 has no place on a logarithmic axis: it enters from the left edge.
        drawn = roc.thinned(_DRAWN)
        far = np.maximum(drawn.far, smallest)
        axes.step(far, drawn.tar, where="post", linewidth=1.8, label=model, **styles[model])
        misses = max(misses, 1 - float(roc.tar[np.searchsorted(roc.false_accepts, 1, side="right") - 1]))
        marks += [
            Mark(max(point.far, smallest), point.tar, point.numbers(), model, styles[model]["color"])
            for point in roc_points(roc)
        ]
        _dot_eer(axes, roc, styles[model], at=(smallest, 0.0), up="tar")
    axes.set_ylim(max(0.0, 1 - 1.3 * misses), 1 + 0.05 * misses)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set(title="ROC", ylabel="true accept rate")
    _name_lines(axes, rocs)
    return Panel("roc", figure, _roc_text(rocs), marks)


def det_panel(rocs: Mapping[str, Roc], *, styles: Mapping[str, LineStyle]) -> Panel:
    """FRR over FAR, both logarithmic, with the line on which they meet; arguments as of `roc_panel`."""
    figure, axes = new_panel()
    left = _far_axis(axes, rocs.values())
    bottom = 0.5 / max(roc.genuine for roc in rocs.values())
    axes.plot([max(left, bottom), 1], [max(left, bottom), 1], color=FAINT, linewidth=1, linestyle=(0, (4, 4)))
    for model, roc in rocs.items():
        drawn = roc.thinned(_DRAWN)
        far, frr = np.maximum(drawn.far, left), np.maximum(1 - drawn.tar, bottom)
        axes.step(far, frr, where="post", linewidth=1.8, label=model, **styles[model])
        _dot_eer(axes, roc, styles[model], at=(left, bottom), up="frr")
    axes.set_yscale("log")
    axes.set_ylim(bottom, 1)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(title="DET", ylabel="false reject rate")
    _name_lines(axes, rocs)
    errors = "; ".join(f"{model or 'equal error rate'} {_eer_text(roc)}" for model, roc in rocs.items())
    return Panel("det", figure, f"False reject rate over false accept rate; the rates meet at: {errors}.")


def scores_panel(pairs: ScoredPairs) -> Panel:
    """How genuine and impostor pairs score, and where the folds' thresholds lie."""
    figure, axes = new_panel()
    bins = _score_bins(pairs.scores)
    medians = []
    for kind, name, colour in (
        (~pairs.same, "impostor pairs", IMPOSTOR),
        (pairs.same, "genuine pairs", GENUINE),
    ):
        share = np.histogram(pairs.scores[kind], bins)[0] / kind.sum()
        axes.stairs(share, bins, fill=True, color=colour, alpha=0.35, label=name)
        axes.stairs(share, bins, color=colour, linewidth=1.2)
        medians.append(f"{name} have a median of {np.median(pairs.scores[kind]):.3f}")
    text = f"Histogram of the scores: {medians[0]}, {medians[1]}"
    if len(pairs.thresholds):
        middle = float(pairs.thresholds.mean())
        axes.axvspan(pairs.thresholds.min(), pairs.thresholds.max(), color=INK, alpha=0.15, linewidth=0)
        axes.axvline(middle, color=INK, linewidth=1, label=f"threshold {middle:.3f}")
        text += f"; the threshold is {middle:.3f}"
    axes.margins(x=0.01)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set(title="Scores", xlabel=f"{pairs.similarity} similarity", ylabel="share of the pairs")
    legend_below(figure)
    return Panel("scores", figure, f"{text}.")


def _dot_eer(axes: Axes, roc: Roc, style: LineStyle, *, at: tuple[float, float], up: str) -> None:
    """A dot where the error rates meet; `at` is the least that the axes show."""
    point = equal_error_rate(roc)
    place = max(point.far, at[0]), max(getattr(point, up), at[1])
    axes.plot(*[[value] for value in place], "o", color=style["color"], markersize=5)


def _name_lines(axes: Axes, rocs: Mapping[str, Roc]) -> None:
    """Say which line is which model's, or of one model the EER, where its curve leaves room."""
    if len(rocs) > 1:
        figure = axes.get_figure(root=True)
        assert figure is not None  # it has just been made
        legend_below(figure)
        return
    [roc] = rocs.values()
    axes.legend([], [], title=f"EER {_eer_text(roc)}", loc="best", frameon=False)


def _roc_text(rocs: Mapping[str, Roc]) -> str:
    """The curves in numbers: TAR at one, ten ... false accepts in a hundred, and the equal error rate."""
    parts = []
    for model, roc in rocs.items():
        points = [
            f"{percent(tar_at_far(roc, far).tar)} % at FAR {100 * far:g} %"
            for far in (0.1, 0.01, 0.001)
            if resolves(far, roc.impostors)
        ]
        rates = f"true accept rate {', '.join(points)}; " if points else ""
        parts.append(f"{model + ': ' if model else ''}{rates}equal error rate {_eer_text(roc)}")
    return f"ROC, true over false accept rate. {'. '.join(parts)}."


def _eer_text(roc: Roc) -> str:
    return f"{percent(equal_error_rate(roc).equal_error)} %"


def _score_bins(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Bins of one width for both kinds, as fine as the number of pairs allows."""
    low, high = float(scores.min()), float(scores.max())
    count = int(np.clip(2 * math.sqrt(len(scores)), 12, 90))
    return np.linspace(low, max(high, low + 1e-3), count + 1)


def _far_axis(axes: Axes, rocs: Iterable[Roc]) -> float:
    return error_rate_axis(axes, "false accept rate", count=max(roc.impostors for roc in rocs), of="pairs")
