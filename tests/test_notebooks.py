"""The notebooks run as they are, cell by cell, in an empty folder. No Jupyter is needed for that."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
# Lines that each prints, in this order; the last one is of its last cell.
PRINTED = {
    "attack_and_reject": (
        r"one person: -?0\.\d{3} before, -?0\.\d{3} after",
        r"two people: -?0\.\d{3} before, -?0\.\d{3} after",
        r"clean +score +\S+, threshold \S+: (accepted|rejected)",
        r"impersonation +score +\S+, threshold \S+: (accepted|rejected)",
    ),
    "verify_a_public_model": (
        r"66 pairs, 12 of one person",
        r"accuracy +\d+\.\d\d \+- \d+\.\d\d %.*",
        r"one person 0\.\d{3}, two people -?0\.\d{3}",
    ),
}


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == [*PRINTED]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in read(notebook) if cell["cell_type"] == "code"]
    names: dict[str, object] = {"__name__": "__main__"}
    with matplotlib.rc_context({"backend": "agg"}):
        for number, cell in enumerate(cells, 1):
            exec(compile("".join(cell["source"]), f"{notebook.name}, code cell {number}", "exec"), names)
        plt.close("all")
    lines = iter(capsys.readouterr().out.splitlines())
    for printed in PRINTED[notebook.stem]:  # `any` goes on after the line before
        assert any(re.fullmatch(printed, line) for line in lines), printed
    assert [*lines] == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_results_and_its_links_lead_to_files(notebook: Path) -> None:
    cells = read(notebook)
    assert [cell for cell in cells if cell.get("outputs")] == []
    assert not (notebook.parent / ".ipynb_checkpoints").exists()
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert [link for link in links if not (notebook.parent / link).exists()] == []


def read(notebook: Path) -> list[dict]:
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]
