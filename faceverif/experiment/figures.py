"""Pictures of tables; they draw what has been computed."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from statistics import fmean

from data_prep.counted import counted
from faceverif.report.curves import Line, lines_panel
from faceverif.report.plotting import FAINT, INK, LineStyle, Panel, new_panel

# In spans of our own numbers.
_FARTHEST_PAPER = 3
_NAME_LETTERS = 18
_LINE_IN = 0.17


def seeds_panel(
    values: Mapping[str, Sequence[float]],
    *,
    label: str,
    published: Mapping[str, float],
    styles: Mapping[str, LineStyle],
) -> Panel:
    """What each seed gave, a row of dots for each method; a bar for their mean, a diamond for the paper.

    Papers whose numbers lie so far away that our dots would fall together are left out.

    Args:
        values: name of a row -> one number per seed, in the unit that is drawn.
        label: of the axis.
        published: the paper's number of the rows that have one.
        styles: name of a row -> how its method is drawn.
    """
    names = {name: "\n".join(textwrap.wrap(name, _NAME_LETTERS)) for name in values}
    lines = sum(max(2, name.count("\n") + 1) for name in names.values())
    figure, axes = new_panel(height_in=0.8 + _LINE_IN * lines)
    ours = [value for seeds in values.values() for value in seeds]
    room = _FARTHEST_PAPER * (max(ours) - min(ours))
    for place, (name, seeds) in enumerate(values.items()):
        colour = styles[name]["color"]
        axes.plot(seeds, [place] * len(seeds), "o", color=colour, markersize=6, alpha=0.6)
        axes.plot([fmean(seeds)], [place], "|", color=colour, markersize=16, markeredgewidth=2)
        if name in published and min(ours) - room <= published[name] <= max(ours) + room:
            axes.plot([published[name]], [place], "D", color=INK, markersize=5)
    axes.set_yticks(range(len(values)), list(names.values()))
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set(xlabel=label)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(False, axis="y")
    parts = (
        f"{name}: mean {fmean(seeds):.4g} of {counted(len(seeds), 'seed')}, {min(seeds):.4g} to "
        f"{max(seeds):.4g}" + (f", paper {published[name]:.4g}" if name in published else "")
        for name, seeds in values.items()
    )
    return Panel("", figure, f"{label} of each seed. {'; '.join(parts)}.")


def series_panel(
    lines: Sequence[Line], *, setting: str, value: str, mark: tuple[float, str] | None = None
) -> Panel:
    """A number over a setting, one line per method (W-Softmax, Fig. 4: accuracy over the width of a layer).

    Args:
        lines: a method's numbers over the setting, ascending, in the unit that is drawn.
        setting: label of the horizontal axis.
        value: above the axes.
        mark: a setting to point out, and its name.
    """
    panel = lines_panel("", value, lines, across=setting)
    [axes] = panel.figure.axes
    everywhere = sorted({float(place) for line in lines for place in line.across})
    if everywhere[0] > 0 and everywhere[-1] / everywhere[0] >= 16:
        axes.set_xscale("log", base=2)
    if mark is not None:
        axes.axvline(mark[0], color=FAINT, linewidth=1.2)
        axes.annotate(
            mark[1],
            (mark[0], 0.02),
            (4, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=9,
        )
    axes.set_xticks(everywhere, [f"{place:g}" for place in everywhere])
    axes.minorticks_off()
    return panel
