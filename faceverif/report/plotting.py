"""One style for every figure: few lines, a light grid, colours for colour-blind readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

INK = "#1f2933"
SOFT = "#52606d"
AXIS = "#8a949e"
FAINT = "#c9d1d9"
GRID = "#e4e8ec"
ACCENT = "#1d4ed8"
GENUINE = "#0f766e"
IMPOSTOR = "#c2570c"
# Okabe and Ito's eight colours for colour-blind readers, and two more for ten classes.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8a7500", "#5b3a8e", AXIS, INK)

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": AXIS,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}
PANEL_IN = 3.8
_HEIGHT_IN = 3.0
_LEGEND_ROW_IN = 0.19
# Letters of a legend that fit beside each other, and what an entry needs beside its name.
_LEGEND_LETTERS, _ENTRY_LETTERS = 58, 7
_DASHES = ("-", "--", ":")

# Colour and dash as arguments of `plot`.
LineStyle = dict[str, Any]

# For axes of rates.
PERCENT = FuncFormatter(lambda rate, _: f"{100 * rate:.4g} %")


@dataclass(frozen=True)
class Mark:
    """A point of a figure that tells its numbers to a reader who points at it or moves the focus to it.

    Attributes:
        across, up: where, in the units of the axes.
        numbers: name -> value; the names are the same for all points of a figure.
        line: whose point it is, in a figure of several lines.
        colour: of its line.
    """

    across: float
    up: float
    numbers: Mapping[str, str]
    line: str = ""
    colour: str = ACCENT

    @property
    def text(self) -> str:
        """All that it tells, in a line."""
        numbers = ", ".join(f"{name} {value}" for name, value in self.numbers.items())
        return f"{self.line}: {numbers}" if self.line else numbers


@dataclass(frozen=True)
class Panel:
    """One pair of axes, as wide as a phone shows it. Several stand beside each other where there is room.

    Attributes:
        name: of its file.
        figure: what is drawn.
        alt: what it shows, with its main numbers, for those who do not see it.
        marks: points that tell their numbers.
    """

    name: str
    figure: Figure
    alt: str
    marks: Sequence[Mark] = ()


def house_style() -> AbstractContextManager[None]:
    """The style, for a `with` around code that draws; matplotlib's own settings are restored."""
    return rc_context(_STYLE)


def new_panel(*, height_in: float = _HEIGHT_IN) -> tuple[Figure, Axes]:
    """An empty figure of a panel's width with its axes."""
    figure = Figure(figsize=(PANEL_IN, height_in), layout="constrained")
    return figure, figure.add_subplot()


def error_rate_axis(axes: Axes, rate: str, *, count: int, of: str) -> float:
    """A logarithmic axis across, down to half of one error, grey below one; returns its left end.

    Args:
        axes: whose.
        rate: what it shows, in words.
        count: of what could be errors.
        of: what they are, in words.
    """
    smallest = 0.5 / count
    axes.set_xscale("log")
    axes.set_xlim(smallest, 1)
    axes.axvspan(smallest, 1 / count, color=FAINT, alpha=0.25, linewidth=0)
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(PERCENT)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"{rate}\n(grey: less than one of {count:,} {of})")
    return smallest


def legend_below(figure: Figure) -> None:
    """Name the lines below the axes, where the names cover nothing; the figure grows by their rows."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = max(1, min(len(labels), _LEGEND_LETTERS // (max(map(len, labels)) + _ENTRY_LETTERS)))
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + _LEGEND_ROW_IN * (-(-len(labels) // columns)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def line_styles(names: Iterable[str]) -> dict[str, LineStyle]:
    """One colour per name, with another dash from the eleventh name on; as arguments of `plot`."""
    return {
        name: {"color": COLOURS[number % len(COLOURS)], "linestyle": _DASHES[number // len(COLOURS) % 3]}
        for number, name in enumerate(names)
    }
