"""The pages that the site makes from the code, and its links. `make docs` builds the whole."""

from __future__ import annotations

import importlib
import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from docs.from_code.command_page import command_page
from docs.from_code.equation_page import PAPERS, equation_page
from faceverif.cli.app import all_commands, command_line
from faceverif.config.reading import read_yaml

ROOT = Path(__file__).resolve().parents[1]


def test_each_method_has_a_paper_to_cite() -> None:
    from faceverif.criteria import CRITERIA
    from faceverif.heads import HEADS
    from faceverif.penalties import PENALTIES
    from robustness.attacks import ATTACKS, PAIR_ATTACKS
    from robustness.detectors import DETECTORS

    page = (ROOT / "docs/concepts/papers_to_cite.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("|")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    for registry in (HEADS, CRITERIA, PENALTIES, ATTACKS, PAIR_ATTACKS, DETECTORS):
        assert set(registry) <= named


def test_the_page_of_commands_has_every_command_with_every_option() -> None:
    blocks = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", command_page(), re.MULTILINE | re.DOTALL))
    assert blocks.keys() == all_commands().keys()
    for words, text in blocks.items():
        command: Any = command_line()
        for word in words.split():
            command = command.commands[word]
        for parameter in command.params:
            names = [*parameter.opts, *parameter.secondary_opts]
            wanted = names if names[0].startswith("-") else [parameter.name.upper()]
            assert [name for name in wanted if name not in text and name != "--help"] == []
    assert "| `--far` | number >= 0 <= 1 | `0.01` |" in blocks["compare"]
    assert "| `--score` | `cosine`, `pca-mahalanobis` | `cosine` |" in blocks["verify"]
    assert "continues when it is given again" in blocks["align"]
    assert "continues when it is given again" not in blocks["verify"]


def test_the_page_of_equations_names_what_exists() -> None:
    page = equation_page(ROOT)
    sections = re.split(r"^## (.+)$", page, flags=re.MULTILINE)
    assert sections[1::2] == [*PAPERS, "Other papers"]
    for text in sections[2::2]:
        rows = re.findall(r"^\| .* \| `([\w.]+)` \|$", text, re.MULTILINE)
        assert rows
        for name in rows:
            assert exists(name), name
    assert (
        "| Logits of the weights-biased softmax, Eq. 12 of Li & Wang (2020) | `faceverif.heads.wsoftmax"
        in page
    )


def exists(name: str) -> bool:
    """Whether a module has this function, class or method; its package may hold a function of its name."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part, None)
        return found is not None
    return False


@pytest.mark.parametrize(
    ("place", "text", "wanted"),
    [
        ("index.md", "[a](docs/data.md#align) ![b](docs/report.png)", "[a](data.md#align) ![b](report.png)"),
        ("three_tasks.md", "[r](RESULTS.md)", "[r](RESULTS.md)"),
        ("results/snr.md", "[r](../../RESULTS.md) [d](../data.md)", "[r](../RESULTS.md) [d](../data.md)"),
        ("training.md", "[c](../configs/mnist) [h](https://a.org) [s](#x)", "c [h](https://a.org) [s](#x)"),
        ("data.md", "`[a](b.md)` and [a](../tests/x.py)", "`[a](b.md)` and a"),
    ],
)
def test_links_lead_to_the_pages_of_the_site(
    monkeypatch: pytest.MonkeyPatch, place: str, text: str, wanted: str
) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    monkeypatch.syspath_prepend(ROOT / "docs")  # as mkdocs does
    site = runpy.run_path(str(ROOT / "docs" / "site.py"))
    pages = {"index.md", "three_tasks.md", "RESULTS.md", "data.md", "report.png", "training.md"}
    files = SimpleNamespace(get_file_from_path=lambda path: path if path in pages else None)
    page = SimpleNamespace(file=SimpleNamespace(src_uri=place))
    assert site["on_page_markdown"](text, page=page, config=None, files=files) == wanted


def test_the_site_asks_no_other_machine_for_anything() -> None:
    settings = read_yaml(ROOT / "mkdocs.yml")
    assert settings["strict"] is True
    assert settings["theme"]["font"] is False
    assert not {"extra_css", "extra_javascript"} & settings.keys()
