"""Panels as SVG: a file for each, and the same drawing inside a page, in the colours of the page."""

from __future__ import annotations

import html
import io
import json
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from matplotlib import rc_context

from data_prep.atomic import write_text
from faceverif.report.plotting import (
    ACCENT,
    AXIS,
    COLOURS,
    FAINT,
    GENUINE,
    GRID,
    IMPOSTOR,
    INK,
    SOFT,
    Mark,
    Panel,
)

# Of what is drawn as pixels: heat maps, and dots that are too many.
_DOTS_PER_INCH = 200
_POINTS_PER_INCH = 72
_MARK_RADIUS = 5.5

# The page's stylesheet gives these other values in the dark.
_VARIABLES = {colour: f"--model-{number}" for number, colour in enumerate(COLOURS)} | {
    INK: "--ink",
    SOFT: "--soft",
    AXIS: "--axis",
    FAINT: "--faint",
    GRID: "--line",
    ACCENT: "--accent",
    GENUINE: "--genuine",
    IMPOSTOR: "--impostor",
}
_ROOT = re.compile(r"^.*?<svg[^>]*?viewBox=\"([^\"]*)\"[^>]*>", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", re.DOTALL)
_NEEDLESS_ID = re.compile(r" id=\"[\w.]+_\d+\"")
_PATH = re.compile(r" d=\"[^\"]*\"")
_LONG_NUMBER = re.compile(r"(\.\d\d)\d+")
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_POINT = re.compile(r' data-point="([^"]*)"')
_ADDRESSES = re.compile(r' xmlns(?::xlink)?="[^"]*"')


@dataclass(frozen=True)
class Drawing:
    """A panel as a part of a page.

    Attributes:
        svg: the drawing, in the colours of the page.
        points: of its curves, as a table for those who do not point at them: a row for each.
    """

    svg: Markup
    points: list[dict[str, str]]

    @classmethod
    def of(cls, text: str) -> Drawing:
        """What a file by `panel_svg` holds."""
        points = [json.loads(html.unescape(row)) for row in _POINT.findall(text)]
        svg = _COLOUR.sub(lambda match: page_colour(match[0]), _POINT.sub("", text))
        return cls(Markup(_ADDRESSES.sub("", svg).strip()), points)


def save_panels(panels: Iterable[Panel], folder: Path) -> list[Drawing]:
    """Write each panel as NAME.svg; returns the drawings for a page."""
    drawn = []
    for panel in panels:
        text = panel_svg(panel)
        write_text(folder / f"{panel.name}.svg", text)
        drawn.append(Drawing.of(text))
    return drawn


def draw(panels: Iterable[Panel]) -> list[Drawing]:
    """The drawings for a page, without files of their own."""
    return [Drawing.of(panel_svg(panel)) for panel in panels]


def panel_svg(panel: Panel) -> str:
    """The text of an SVG file that names what it shows and stands alone."""
    file = io.StringIO()
    # The salt names clip paths: equal drawings give equal files, and others in one page other names.
    with rc_context({"svg.hashsalt": f"{panel.name} {panel.alt}"}), warnings.catch_warnings():
        # Text stays text, and the reader's browser has the letters that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        panel.figure.savefig(file, format="svg", dpi=_DOTS_PER_INCH)
    drawing = _NEEDLESS_ID.sub("", _METADATA.sub("", file.getvalue()))
    drawing = _PATH.sub(lambda path: _LONG_NUMBER.sub(r"\1", path[0]), drawing)
    drawing = _ROOT.sub(lambda match: _root(panel, view_box=match[1]), drawing, count=1)
    return drawing.replace("</svg>", _marks(panel) + "</svg>")


def page_colour(colour: str) -> str:
    """A colour of the house style as CSS that follows the page; another colour as it is."""
    variable = _VARIABLES.get(colour)
    return colour if variable is None else f"var({variable}, {colour})"


def _root(panel: Panel, *, view_box: str) -> str:
    # Children of an image are not seen by a screen reader; marks have to be.
    role = "group" if panel.marks else "img"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{view_box}" role="{role}" aria-label="{html.escape(panel.alt)}">'
        "<style>svg * { stroke-linejoin: round; stroke-linecap: butt }</style>"
    )


def _marks(panel: Panel) -> str:
    """Circles that a mouse or the focus finds. Only the first stops the tab key; arrow keys go on from it."""
    if not panel.marks:
        return ""
    [axes] = panel.figure.axes
    scale = _POINTS_PER_INCH / panel.figure.dpi
    height = panel.figure.get_figheight() * _POINTS_PER_INCH
    places = axes.transData.transform([(mark.across, mark.up) for mark in panel.marks]) * scale
    circles = (
        f'<circle class="mark" cx="{across:.1f}" cy="{height - up:.1f}" r="{_MARK_RADIUS}" fill-opacity="0" '
        f'style="fill: {mark.colour}" role="img" tabindex="{0 if number == 0 else -1}"{_point(mark)}>'
        f"<title>{html.escape(mark.text)}</title></circle>"
        for number, (mark, (across, up)) in enumerate(zip(panel.marks, places, strict=True))
    )
    return f"<g>{''.join(circles)}</g>"


def _point(mark: Mark) -> str:
    """The row of a mark in the table of a drawing, as an attribute that `Drawing.of` reads."""
    row = ({"curve": mark.line} if mark.line else {}) | dict(mark.numbers)
    return f' data-point="{html.escape(json.dumps(row))}"'
