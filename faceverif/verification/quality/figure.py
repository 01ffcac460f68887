"""The figure of the error-versus-discard characteristic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faceverif.report.numbers import rate_text
from faceverif.report.plotting import FAINT, INK, PERCENT, Panel, legend_below, line_styles, new_panel


def discard_panel(facts: Mapping[str, Any]) -> Panel:
    """False non-match rate over the share of genuine pairs that are discarded, a line for each measure.

    Args:
        facts: as `DiscardReport.as_json` writes them.
    """
    figure, axes = new_panel()
    axes.axhline(facts["frr"], color=FAINT, linewidth=1.2)
    styles = line_styles([each["measure"] for each in facts["measures"]])
    for each in facts["measures"]:
        across, up = zip(*each["curve"], strict=True)
        axes.step(across, up, where="post", linewidth=1.6, label=each["measure"], **styles[each["measure"]])
    across, up = zip(*facts["ideal"]["curve"], strict=True)
    axes.step(across, up, where="post", linewidth=1.2, label="ideal", color=INK, linestyle=(0, (1, 2)))
    axes.set_xlim(0, across[-1])
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set(title="Error versus discard", xlabel="genuine pairs discarded", ylabel="false non-match rate")
    legend_below(figure)
    rates = "; ".join(
        f"{each['measure']} {rate_text(each['rate_at']['0'])} to {rate_text(each['rate_at']['0.2'])}"
        for each in facts["measures"]
    )
    text = (
        "False non-match rate while the 20 % of genuine pairs of lowest quality are discarded: "
        f"{rates or 'no measure is known of any of them'}."
    )
    return Panel("error-versus-discard", figure, text)
