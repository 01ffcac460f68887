"""The import rules of pyproject.toml hold, and what must start fast imports nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

PROJECT = Path(__file__).resolve().parents[1]
HEAVY = {
    "cv2",
    "matplotlib",
    "numpy",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "torch",
    "torchvision",
}


def test_imports_point_downwards(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code = lint_imports(config_filename=str(PROJECT / "pyproject.toml"), no_cache=True)
    assert exit_code == 0, capsys.readouterr().out


@pytest.mark.parametrize("module", ["faceverif", "faceverif.cli", "data_prep.errors", "data_prep.progress"])
def test_what_must_start_fast_imports_nothing_heavy(module: str) -> None:
    program = f"import json, sys, {module}; print(json.dumps(list(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert not HEAVY & {name.partition(".")[0] for name in json.loads(answer.stdout)}


def test_help_imports_nothing_heavy() -> None:
    run = "from faceverif.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    program = f"import sys\n{run}"
    command = [sys.executable, "-c", program, "--help"]
    answer = subprocess.run(command, capture_output=True, check=True, text=True)
    assert "Everyday tasks" in answer.stdout
    assert not HEAVY & {name.partition(".")[0] for name in answer.stderr.split()}
