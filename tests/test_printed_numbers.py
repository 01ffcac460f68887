"""Every percentage is printed by `faceverif.report.numbers`, as in "97.9 %"."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("data_prep", "faceverif", "robustness", "benchmarks", "examples")


def formats_of_percent(source: str) -> list[str]:
    """The f-strings' formats that would print "97.9%"."""
    formats = (
        ast.unparse(node.format_spec)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FormattedValue) and node.format_spec
    )
    return [text for text in formats if "%" in text]


def test_a_format_of_percent_is_noticed() -> None:
    assert formats_of_percent('f"{rate:.1%}"')
    assert formats_of_percent('f"{rate:.{digits}%}"')
    assert not formats_of_percent('f"{percent(rate, 1):>6} %"')


def test_no_percentage_is_printed_without_its_space() -> None:
    modules = [path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py")]
    assert len(modules) > 100
    for module in modules:
        assert formats_of_percent(module.read_text(encoding="utf-8")) == [], module
