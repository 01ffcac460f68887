"""The figure of groups: both error rates of each, with their intervals."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

from faceverif.report.numbers import rate_text
from faceverif.report.plotting import FAINT, GENUINE, IMPOSTOR, PERCENT, Panel, new_panel

_NAME_LETTERS = 16
_ROW_IN, _LINE_IN = 0.3, 0.15


def group_panels(facts: Mapping[str, Any]) -> list[Panel]:
    """The false match and the false non-match rate of each group; hollow where it is not resolved.

    Args:
        facts: as `GroupRates.as_json` writes them.
    """
    column = re.sub(r"[\W_]+", "-", facts["column"].lower()).strip("-")
    return [
        _panel(facts, "false_match", facts["far"], IMPOSTOR, f"false-match-by-{column}"),
        _panel(facts, "false_non_match", facts["frr"], GENUINE, f"false-non-match-by-{column}"),
    ]


def _panel(facts: Mapping[str, Any], kind: str, overall: float, colour: str, name: str) -> Panel:
    rows = facts["rows"]
    names = ["\n".join(textwrap.wrap(row["group"], _NAME_LETTERS)) for row in rows]
    lines = max(name.count("\n") + 1 for name in names)
    figure, axes = new_panel(height_in=0.9 + (_ROW_IN + _LINE_IN * (lines - 1)) * len(rows))
    axes.axvline(overall, color=FAINT, linewidth=1.2, linestyle=(0, (4, 4)))
    for place, row in enumerate(rows):
        found = row[kind]
        if found["rate"] is not None:
            axes.plot(found["interval"], [place, place], color=colour, linewidth=1.6)
            face = colour if found["resolved"] else "white"
            axes.plot([found["rate"]], [place], "o", color=colour, markerfacecolor=face, markersize=5.5)
    axes.set_yticks(range(len(rows)), names, parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(PERCENT)
    words = kind.replace("_", " ").replace("non match", "non-match")
    axes.set(title=f"{words.capitalize()} rate", xlabel="dashed: all pairs; hollow: too few pairs")
    rates = "; ".join(f"{row['group']} {_rate(row[kind])}" for row in rows)
    return Panel(
        name,
        figure,
        f"{words.capitalize()} rate by {facts['column']}: {rates}; all pairs {rate_text(overall)}.",
    )


def _rate(found: Mapping[str, Any]) -> str:
    if found["rate"] is None:
        return "no pairs"
    low, high = found["interval"]
    return f"{rate_text(found['rate'])} ({rate_text(low)} to {rate_text(high)})"
