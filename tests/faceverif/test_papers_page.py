"""docs/results/papers.md: each row has a command whose config exists, or a reason; no table is forgotten."""

from __future__ import annotations

import re
from pathlib import Path

from faceverif.config.yaml_text import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/results/papers.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ")]
PAPERS = ("W-Softmax", "L-GM", "GSC", "SNR", "Improved loss")


def test_each_row_has_a_command_or_a_reason() -> None:
    items = [row for row in ROWS if row[0].strip() not in ("item", "---")]
    assert len(items) > 40
    for item, answer in items:
        answer = answer.strip()
        assert answer.startswith(("`faceverif ", "`python examples/", "cannot: ", "checked in the tests")), (
            item
        )


def test_every_file_that_it_names_exists() -> None:
    named = set(re.findall(r"(?:configs|examples)/[\w./-]+\.(?:yaml|py)", PAGE))
    assert len(named) > 30
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_every_table_of_a_paper_is_on_the_page() -> None:
    for path in sorted((ROOT / "configs").glob("*/*.yaml")):
        content = parse_yaml(path.read_text(encoding="utf-8"))
        if "methods" in content and str(content.get("source", "")).startswith(PAPERS):
            assert str(path.relative_to(ROOT)) in PAGE
