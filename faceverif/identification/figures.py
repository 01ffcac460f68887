"""The figures of searches: CMC, identification DET and similarities, drawn from what each probe found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from data_prep.json_object import read_json
from faceverif.file_names import RESULT_NAME
from faceverif.identification.files import SEARCHES_NAME
from faceverif.identification.metrics import (
    IdentificationMetrics,
    IdentificationPoint,
    OpenSetCurve,
    Searches,
)
from faceverif.report.numbers import percent, rate_with_interval
from faceverif.report.plotting import (
    ACCENT,
    GENUINE,
    IMPOSTOR,
    INK,
    PERCENT,
    Mark,
    Panel,
    error_rate_axis,
    legend_below,
    new_panel,
)

_POINTS = 24  # of the DET that tell their numbers
_LEAST_MISSES = 0.005  # that the axis of a CMC shows


def read_searches(folder: Path) -> Searches:
    """What each probe found, from the files of `faceverif rank`."""
    table = pq.read_table(folder / SEARCHES_NAME, columns=["mated", "rank", "similarity"])
    rank = table["rank"].fill_null(0).to_numpy().astype(np.int64)
    similarity = table["similarity"].fill_null(-np.inf).to_numpy()
    return Searches(table["mated"].to_numpy(), rank, similarity, read_json(folder / RESULT_NAME)["people"])


def identification_panels(searches: Searches) -> list[Panel]:
    """CMC, and where there are strangers DET and similarities."""
    measured = IdentificationMetrics.of(searches)
    panels = [cmc_panel(measured)]
    if measured.curve is not None:
        panels += [identification_det_panel(measured.curve), similarities_panel(measured)]
    return panels


def cmc_panel(measured: IdentificationMetrics) -> Panel:
    """The share of the mated probes whose mate is among the first people, over how many these are."""
    cmc = measured.cmc
    figure, axes = new_panel()
    across, rate = np.arange(1, len(cmc.rate) + 1), cmc.rate
    axes.plot(across, rate, color=ACCENT, linewidth=1.8, marker="o", markersize=3)
    marks = []
    for rank in across.tolist():
        low, high = cmc.interval(rank)
        numbers = {"rank": str(rank), "identified": rate_with_interval(float(rate[rank - 1]), (low, high))}
        marks.append(Mark(rank, float(rate[rank - 1]), numbers))
    misses = max(_LEAST_MISSES, 1 - float(rate[0]))
    axes.set_ylim(max(0.0, 1 - 1.3 * misses), 1 + 0.05 * misses)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set(title="CMC", xlabel="rank", ylabel="mated probes identified")
    shares = ", ".join(
        f"{percent(float(rate[rank - 1]))} % at rank {rank}" for rank in (1, 5, 10) if rank <= len(rate)
    )
    return Panel("cmc", figure, f"Share of the mated probes identified up to each rank: {shares}.", marks)


def identification_det_panel(curve: OpenSetCurve) -> Panel:
    """FNIR over FPIR, both logarithmic, from one false positive to all."""
    figure, axes = new_panel()
    left = error_rate_axis(axes, "false positive identification rate", count=curve.non_mated, of="strangers")
    bottom = 0.5 / curve.mated
    fpir = np.maximum(curve.false_positives / curve.non_mated, left)
    fnir = np.maximum(1 - curve.hits / curve.mated, bottom)
    axes.step(fpir, fnir, where="post", linewidth=1.8, color=ACCENT)
    points = det_points(curve)
    marks = [Mark(max(point.fpir, left), max(point.fnir, bottom), _numbers(point)) for point in points]
    axes.set_yscale("log")
    axes.set_ylim(bottom, 1.1)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(title="Identification DET", ylabel="false negative identification rate")
    ends = [f"{percent(point.fnir)} % at FPIR {percent(point.fpir)} %" for point in (points[0], points[-1])]
    return Panel(
        "det", figure, f"False negative over false positive identification rate: {'; '.join(ends)}.", marks
    )


def det_points(curve: OpenSetCurve) -> list[IdentificationPoint]:
    """Points along the DET, evenly over the logarithm of its FPIR, from one false positive to all."""
    counts = np.unique(np.geomspace(1, curve.non_mated, _POINTS).round().astype(int))
    indices = np.unique(np.searchsorted(curve.false_positives, counts, side="right") - 1)
    return [curve.point(int(index)) for index in indices]


def similarities_panel(measured: IdentificationMetrics) -> Panel:
    """How similar the most similar person is: the mate, and to strangers somebody of the gallery."""
    figure, axes = new_panel()
    groups = [
        ("strangers", _finite(measured.searches.alarm), IMPOSTOR),
        ("mates that come first", _finite(measured.searches.hit), GENUINE),
    ]
    drawn = [(name, values, colour) for name, values, colour in groups if len(values)]
    bins = np.histogram_bin_edges(np.concatenate([np.empty(0), *(each[1] for each in drawn)]), _bins(drawn))
    medians = []
    for name, values, colour in drawn:
        share = np.histogram(values, bins)[0] / len(values)
        axes.stairs(share, bins, fill=True, color=colour, alpha=0.35, label=name)
        axes.stairs(share, bins, color=colour, linewidth=1.2)
        medians.append(f"{name} have a median of {np.median(values):.3f}")
    for target, point in measured.tpir_at_fpir.items():
        if point is not None:
            dash, label = "-" if target < 0.05 else "--", f"threshold for FPIR {target:g}"
            axes.axvline(point.threshold, color=INK, linewidth=1, linestyle=dash, label=label)
    axes.margins(x=0.01)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set(title="Most similar person", xlabel="cosine similarity", ylabel="share of the probes")
    legend_below(figure)
    return Panel("similarities", figure, f"Similarity of the most similar person: {', '.join(medians)}.")


def _bins(drawn: list[tuple[str, NDArray[np.float64], str]]) -> int:
    return int(np.clip(2 * np.sqrt(sum(len(values) for _, values, _ in drawn)), 12, 90))


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[np.isfinite(values)]


def _numbers(point: IdentificationPoint) -> dict[str, str]:
    low, high = point.tpir_interval
    return {
        "threshold": f"{point.threshold:.4g}",
        "FPIR": rate_with_interval(point.fpir, point.fpir_interval),
        "FNIR": rate_with_interval(point.fnir, (1 - high, 1 - low)),
    }
