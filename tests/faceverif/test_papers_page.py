"""docs/results/papers.md: each row has a command whose config exists, or a reason; no table is forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from faceverif.config.yaml_text import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/results/papers.md").read_text(encoding="utf-8")
HEAD = "| row | command | status | ours | paper |"
PAPERS = ("W-Softmax", "L-GM", "GSC", "SNR", "Improved loss")
# Rows whose numbers a config has.
COMMANDS = ("`faceverif experiment ", "`faceverif reject ")


@cache
def content_of(config: str) -> dict[str, Any]:
    return parse_yaml((ROOT / config).read_text(encoding="utf-8"))


def rows() -> list[list[str]]:
    tables = [part.partition("\n\n")[0] for part in PAGE.split(HEAD)[1:]]
    lines = [line for table in tables for line in table.splitlines()[2:]]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def numbers_in(published: Any) -> Iterator[float]:
    """Every number below `mean`, `error` and `eer`, in percent."""
    if isinstance(published, dict):
        for key, value in published.items():
            if key in ("mean", "error", "eer") and isinstance(value, int | float):
                yield 100 * value
            else:
                yield from numbers_in(value)
    elif isinstance(published, list):
        for value in published:
            yield from numbers_in(value)


def test_each_paper_has_a_table_of_five_columns() -> None:
    assert PAGE.count(HEAD) == len(PAPERS) == PAGE.count("\n## ")
    assert len(rows()) > 50
    assert {len(row) for row in rows()} == {5}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_each_row_has_a_command_or_a_reason(row: list[str]) -> None:
    _, command, status, _, _ = row
    if status == "cannot":
        assert command.startswith("cannot: ")
    else:
        assert command.startswith(("`faceverif ", "`python examples/", "`python -m pytest tests/"))
        assert re.match(r"(run|short|ready)\b", status)


@pytest.mark.parametrize(
    "row",
    [row for row in rows() if row[1].startswith(COMMANDS) and not row[4].startswith(("curves", "-"))],
    ids=lambda row: row[0][:40],
)
def test_the_numbers_of_the_paper_are_those_of_the_config(row: list[str]) -> None:
    [config] = re.findall(r"configs/[\w./-]+\.yaml", row[1])
    known = set()
    for number in numbers_in(content_of(config)):
        known |= {round(number, digits) for digits in (1, 2, 3)}
    printed = {float(number) for number in re.findall(r"[\d.]*\d", row[4])}
    assert printed
    assert printed - known == set()


def test_every_file_that_it_names_exists() -> None:
    named = set(re.findall(r"(?:configs|examples|benchmarks)/[\w./-]+\.(?:yaml|py|sh)", PAGE))
    assert len(named) > 30
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_every_table_of_a_paper_is_on_the_page() -> None:
    tables = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "configs").glob("*/*.yaml"))
        if (source := re.search(r'^source: "?([^"\n]*)', path.read_text(encoding="utf-8"), re.MULTILINE))
        and source[1].startswith(PAPERS)
    ]
    assert len(tables) > 10
    assert [table for table in tables if table not in PAGE] == []
