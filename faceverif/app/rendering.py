"""The blocks of the page as HTML. Names come from visitors' files, so everything is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from data_prep.counted import counted
from faceverif.report.numbers import percent, unbroken

_FOLDER = Path(__file__).with_name("templates")


def render(block: str, **values: Any) -> str:
    """A block of the page.

    Args:
        block: name of its template, without the ending.
        values: what the template shows; a missing one is an error.
    """
    return unbroken(_ENVIRONMENT.get_template(f"{block}.html.j2").render(**values))


def style() -> str:
    """The page's own CSS."""
    return (_FOLDER / "page.css").read_text(encoding="utf-8")


def rate_text(rate: float) -> str:
    """A rate in percent, without digits that say nothing: 1 %, 0.01 %."""
    return f"{100 * rate:.6g} %"


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"percent": percent, "rate": rate_text, "counted": counted}
