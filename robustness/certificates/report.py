"""The page of a certification: what no attack can change, over the size of the change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.counted import counted
from faceverif.file_names import FIGURES_NAME, REPORT_NAME
from faceverif.intervals import wilson_interval
from faceverif.provenance import describe_software
from faceverif.report.curves import Line, lines_panel
from faceverif.report.numbers import percent
from faceverif.report.pages import flat_text, write_page
from faceverif.report.plotting import Panel, house_style, line_styles
from faceverif.report.svg import save_panels

_CURVE_POINTS = 200
_TITLE = "What no attack can change"
_WHATEVER = "This holds whatever attack is used; larger changes may do more harm."

# Share of a table -> its heading.
HEADINGS = {
    "certified_accuracy": "certified accuracy",
    "certified_true_accepts": "genuine pairs that cannot be hidden",
    "false_accepts_at_most": "impostor pairs that might be accepted",
    "pgd_error": "error under PGD",
    "verified_error": "error at most",
}


def write_certificate_page(
    out: Path,
    *,
    size: str,
    lines: Sequence[Mapping[str, float]],
    counts: Mapping[str, int],
    panel: Panel,
    answer: str,
    rules: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> Path:
    """Write report.html, and its figure in figures/.

    Args:
        out: folder of the certificates.
        size: the key of each line that is the size of the change.
        lines: of the table, as result.json holds them: a size, and shares in [0, 1].
        counts: share -> of how many images or pairs it is; 95 % intervals follow from it.
        panel: the shares over the size.
        answer: the sentence that the page opens with.
        rules: how the numbers were made.
        provenance: model, data, seed.
    """
    shown = [
        (line[size], [(line[name], wilson_interval(round(line[name] * n), n)) for name, n in counts.items()])
        for line in lines
    ]
    return write_page(
        out / REPORT_NAME,
        "certificates.html.j2",
        kind="Certificates",
        title=_TITLE,
        numbers={f"{line[size]:g}": {name: line[name] for name in counts} for line in lines},
        answer=answer,
        size=size.replace("_", " "),
        headings=[HEADINGS[name] for name in counts],
        lines=shown,
        drawings=save_panels([panel], out / FIGURES_NAME),
        rules=rules,
        provenance=flat_text(dict(provenance) | describe_software()),
    )


def radius_panel(shares: Callable[[float], Mapping[str, float]], *, largest: float) -> Panel:
    """The shares over the l2 radius, as a curve from 0 to just beyond the largest certified radius."""
    radii = np.linspace(0.0, 1.05 * largest or 1.0, _CURVE_POINTS)
    at_radius = [shares(float(radius)) for radius in radii]
    title = "Decisions that hold"
    return _shares_panel(at_radius, radii.tolist(), title, across="l2 radius, for pixels in [0, 1]")


def epsilon_panel(lines: Sequence[Mapping[str, float]]) -> Panel:
    """Both bounds of the error over epsilon."""
    shares = [{name: line[name] for name in ("pgd_error", "verified_error")} for line in lines]
    sizes = [line["epsilon"] for line in lines]
    return _shares_panel(shares, sizes, "Error", across="linf epsilon, for pixels in [0, 1]", marker="o")


def _shares_panel(
    shares: Sequence[Mapping[str, float]],
    sizes: Sequence[float],
    title: str,
    *,
    across: str,
    marker: str = "",
) -> Panel:
    styles = line_styles(shares[0])
    lines = [
        Line(HEADINGS[name], sizes, [each[name] for each in shares], style, marker=marker)
        for name, style in styles.items()
    ]
    with house_style():
        panel = lines_panel("certified", title, lines, across=across, rates=True)
        panel.figure.axes[0].set_ylim(-0.03, 1.03)
    return panel


def images_answer(line: Mapping[str, float], *, items: int) -> str:
    """What the certificates of classes promise at one radius."""
    return (
        f"{percent(line['certified_accuracy'], 1)} % of the {items:,} images keep the right answer under "
        f"every change of their pixels with an l2 norm of up to {line['l2_radius']:.3g}. {_WHATEVER}"
    )


def pairs_answer(line: Mapping[str, float], *, counts: Mapping[str, int]) -> str:
    """What the certificates of pairs promise at one radius.

    Args:
        line: of the table.
        counts: share -> of how many pairs it is.
    """
    change = f"change of the left photo with an l2 norm of up to {line['l2_radius']:.3g}"
    said = []
    if "certified_true_accepts" in line:
        pairs = counted(counts["certified_true_accepts"], "genuine pair")
        kept = percent(line["certified_true_accepts"], 1)
        said.append(f"Of {pairs}, {kept} % stay accepted under every {change}.")
    if "false_accepts_at_most" in line:
        pairs = counted(counts["false_accepts_at_most"], "impostor pair")
        most = percent(line["false_accepts_at_most"], 1)
        after = "such a change" if said else f"a {change}"
        said.append(f"Of {pairs}, at most {most} % can be accepted after {after}.")
    return " ".join([*said, _WHATEVER])


def bounds_answer(lines: Sequence[Mapping[str, float]], *, items: int) -> str:
    """What the bounds promise at the largest epsilon at which they promise anything."""
    changed = [line for line in lines if line["epsilon"] > 0]
    holds = [line for line in changed if line["verified_error"] < 1]
    if not holds:
        return f"Nothing is verified at an epsilon of {changed[0]['epsilon']:g}: the bounds are too loose."
    line = holds[-1]
    return (
        f"No change of all pixels by up to {line['epsilon']:g} makes more than "
        f"{percent(line['verified_error'], 1)} % of the {items:,} images wrong; PGD makes "
        f"{percent(line['pgd_error'], 1)} % wrong. {_WHATEVER}"
    )
