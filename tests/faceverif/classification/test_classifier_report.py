"""What `faceverif classify` prints before and writes after a training: its dry run, and its page."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from pages import check_page, plain

from faceverif.cli import main
from faceverif.config.yaml_text import yaml_text

SETTINGS = {
    "data": {"name": "digits", "limit": 120},
    "network": {"name": "strided_conv", "embedding_dim": 8, "width": 4},
    "head": {"name": "softmax"},
    "optimizer": {"name": "adamw", "learning_rate": 0.01},
    "schedule": {"name": "cosine"},
    "training": {"epochs": 2, "batch_size": 40, "adversarial": {"attack": "fgsm_rs", "epsilon": 0.1}},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml_text(SETTINGS))
    return path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["faceverif", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code


def test_a_dry_run_says_what_the_run_takes_and_writes_nothing(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = ("--set", "training.adversarial=null", "--set", "training.evaluate_every_epochs=4")
    call(monkeypatch, "classify", config, "--run", tmp_path / "run", "--dry-run", *plain)
    lines = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.replace("n e", "n-e").splitlines()
    )
    assert list(lines) == ["run", "data", "pace", "memory", "an-epoch", "evaluation", "in", "disk"]
    assert "120 images to train on, 359 to evaluate" in lines["data"]
    assert lines["an-epoch"].endswith("s for 3 steps")
    assert lines["evaluation"].startswith("359 images, 2 times, ")  # after the last epoch, and at the end
    assert "for 6 steps" in lines["in"]
    assert [path.name for path in tmp_path.iterdir()] == [config.name]


def test_its_page_says_what_was_measured_and_is_written_again_from_its_files(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    call(monkeypatch, "classify", config, "--run", run)
    assert f"report: {run / 'report.html'}" in capsys.readouterr().err
    check_page(run / "report.html")
    text, result = plain((run / "report.html").read_text()), json.loads((run / "result.json").read_text())
    error = result["metrics"]["error"]
    assert f"{100 * error:.2f} % of 359 images are classified wrongly" in text
    assert sum(row["wrong"] for row in result["classes"]) == pytest.approx(359 * error)
    assert sum(row["images"] for row in result["classes"]) == 359
    for heading in ("Training", "Under attack", "Errors by class", "Configuration", "Provenance"):
        assert f">{heading}</h2>" in text
    numbers = json.loads((run / "summary.json").read_text())["numbers"]
    assert numbers["error"] == error
    assert 0 <= numbers["robust_accuracy"] <= 1
    (run / "result.json").unlink()  # as of a run that was interrupted
    call(monkeypatch, "report", run)
    assert "Training has not ended" in (run / "report.html").read_text()
