"""Renders the templates of this package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from data_prep.dataset.exclusions import exclusions_text
from faceverif.report.numbers import percent


def render_page(template: str, **values: Any) -> str:
    """The HTML of a template in `templates`. A missing value is an error."""
    page = _ENVIRONMENT.get_template(template).render(**values)
    return page.encode("utf-8", "backslashreplace").decode()  # a path may hold bytes that are no text


def flat_text(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as one table, `a.b` -> text."""
    rows: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows |= flat_text(value, f"{prefix}{key}.")
        else:
            rows[prefix + key] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return rows


def _grouped(count: int) -> str:
    return f"{count:,}"


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "percent": percent,
    "grouped": _grouped,
    "flat": flat_text,
    "exclusions": exclusions_text,
}
