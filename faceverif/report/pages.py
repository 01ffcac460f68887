"""Writes pages, each with its summary beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from data_prep.atomic import write_text
from data_prep.counted import counted
from data_prep.dataset.exclusions import exclusions_text
from faceverif.config.section import leaves
from faceverif.report.contents import with_contents
from faceverif.report.numbers import percent, significant, unbroken


def write_page(
    page: Path, template: str, *, kind: str, title: str, numbers: Mapping[str, Any], **values: Any
) -> Path:
    """Write a page, which is one file, and beside it its summary for programs.

    The summary of report.html is summary.json, that of report-X.html summary-X.json.

    Args:
        page: the file.
        template: in `templates`. A missing value is an error.
        kind: what the page is about, in a word or two.
        title: its heading.
        numbers: its main results, JSON-able; rates are fractions.
        values: further values for the template.
    """
    html = _ENVIRONMENT.get_template(template).render(kind=kind, title=title, **values)
    summary = {"kind": kind, "title": title, "page": page.name, "numbers": numbers}
    write_text(page, _printable(unbroken(html)))
    write_text(
        page.with_name(page.stem.replace("report", "summary") + ".json"),
        _printable(json.dumps(summary, indent=2, ensure_ascii=False)) + "\n",
    )
    return page


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()  # a path may hold bytes that are no text


def flat_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Nested mappings as one table, `a.b` -> text."""
    return {
        key: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in leaves(values)
    }


def _grouped(count: int) -> str:
    return f"{count:,}"


def _rate_name(rate: float) -> str:
    """The heading of a column of what is rejected at a rate of false rejections."""
    return f"at {100 * rate:g} %"


def _breakable(name: str) -> Markup:
    """A name that may be broken after its underscores, and after its folders."""
    return Markup(re.sub(r"[_/]", r"\g<0><wbr>", str(escape(name))))


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "percent": percent,
    "significant": significant,
    "grouped": _grouped,
    "counted": counted,
    "flat": flat_text,
    "exclusions": exclusions_text,
    "rate_name": _rate_name,
    "breakable": _breakable,
    "with_contents": with_contents,
}
