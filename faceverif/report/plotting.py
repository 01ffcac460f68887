"""One style for every figure: few lines, a light grid, colours for colour-blind readers."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

INK = "#1f2933"
FAINT = "#c9d1d9"
ACCENT = "#1d4ed8"
GENUINE = "#0f766e"
IMPOSTOR = "#c2570c"
# Okabe and Ito's eight colours for colour-blind readers, and two more for ten classes.
COLOURS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#d55e00",
    "#56b4e9",
    "#8a7500",
    "#5b3a8e",
    "#8a949e",
    "#1f2933",
)

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#8a949e",
    "axes.grid": True,
    "axes.labelcolor": "#52606d",
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#e4e8ec",
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": "#52606d",
    "ytick.color": "#52606d",
}
_DOTS_PER_INCH = 200
PANELS_PER_ROW = 4
_DASHES = ("-", "--", ":")

# Colour and dash as arguments of `plot`.
LineStyle = dict[str, Any]

# For axes of rates.
PERCENT = FuncFormatter(lambda rate, _: f"{100 * rate:.4g} %")


def house_style() -> AbstractContextManager[None]:
    """The style, for a `with` around code that draws; matplotlib's own settings are restored."""
    return rc_context(_STYLE)


def new_figure(*, wide: bool = False) -> tuple[Figure, Axes]:
    """An empty figure of half or the whole width of a report."""
    figure = Figure(figsize=(9.6, 3.4) if wide else (4.7, 3.7), layout="constrained")
    return figure, figure.add_subplot()


def new_panels(count: int) -> tuple[Figure, list[Axes]]:
    """Empty axes across the width of a report, at most four per row."""
    per_row = min(count, PANELS_PER_ROW)
    rows = math.ceil(count / per_row)
    figure = Figure(figsize=(9.6, 2.9 if rows == 1 else 2.4 * rows), layout="constrained")
    return figure, [figure.add_subplot(rows, per_row, index + 1) for index in range(count)]


def line_styles(names: Iterable[str]) -> dict[str, LineStyle]:
    """One colour per name, with another dash from the eleventh name on; as arguments of `plot`."""
    return {
        name: {"color": COLOURS[number % len(COLOURS)], "linestyle": _DASHES[number // len(COLOURS) % 3]}
        for number, name in enumerate(names)
    }


def figure_png(figure: Figure) -> bytes:
    """The figure as a PNG in memory."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_DOTS_PER_INCH)
    return png.getvalue()
