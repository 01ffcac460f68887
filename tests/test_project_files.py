"""The project's own pages name what exists, and CITATION.cff is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from faceverif.config.reading import read_yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
    if path.name != "CHANGELOG.md"  # names what is gone, too
)


def links_of(page: Path) -> list[str]:
    return re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8"))


def anchors_of(page: Path) -> list[tuple[str, str]]:
    """The page that each leads to, empty for its own, and the anchor."""
    return re.findall(r"\]\(([^)#]*)#([^)]+)\)", (ROOT / page).read_text(encoding="utf-8"))


def test_pages_have_links_and_anchors() -> None:
    assert sum(len(links_of(page)) for page in PAGES) > 100
    assert sum(len(anchors_of(page)) for page in PAGES) > 20


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    missing = [target for target in links_of(page) if not (ROOT / page).parent.joinpath(target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_anchor_of_a_page_is_a_heading(page: Path) -> None:
    for target, anchor in anchors_of(page):
        linked = (ROOT / page).parent / target if target else ROOT / page
        headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), flags=re.MULTILINE)
        slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert anchor in slugs, f"{page}: {target}#{anchor}"


def test_where_to_add_names_folders_and_files_that_exist() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where to add")[2]
    table = table.partition("\n## ")[0]
    paths = re.findall(
        r"`((?:faceverif|robustness|data_prep|tests|examples|benchmarks)/[\w/]*(?:\.\w+)*)", table
    )
    paths = [re.sub(r"NAME[.\w]*$", "", path) for path in paths]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_architecture_is_one_page_and_names_rooms_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 140
    rooms = re.findall(r"`((?:faceverif|robustness|data_prep)(?:\.\w+)+)`", text)
    assert rooms
    for room in rooms:
        path = ROOT / room.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), room


def test_citation_has_what_the_format_requires() -> None:
    citation = read_yaml(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert all(author.keys() & {"name", "family-names"} for author in citation["authors"])
    version = re.search(
        r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert version is not None
    assert citation["version"] == version[1]


def test_the_continuous_check_runs_lint_and_tests() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert script.index("make lint") < script.index("make test")
