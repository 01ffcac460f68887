"""The import rules of pyproject.toml hold, and what must start fast imports nothing heavy."""

from __future__ import annotations

import json
import os
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
# What takes a second or more to import, and is needed late or by some runs only.
LATE = {
    "facenet_pytorch",
    "foolbox",
    "lightning_fabric",
    "matplotlib",
    "onnx2torch",
    "pandas",
    "pytorch_metric_learning",
    "scipy",
    "sklearn",
    "sympy",
    "timm",
    "torch._dynamo",
    "torchvision",
}
OTHERS = ("ada/2", "ada/3", "bob/1", "bob/2")
COMMANDS = ("faceverif.training.loop", "faceverif.verification.runner", "data_prep.prepare.align_folder")
# Runs a command up to the choice of its device, which is where torch is imported.
UP_TO_DEVICE = """
import json, sys
import data_prep.device
def choose_device(name): raise KeyboardInterrupt
data_prep.device.choose_device = choose_device
from faceverif.cli import main
ended = []
for arguments in json.loads(sys.stdin.read()):
    sys.argv = ["faceverif", *arguments]
    try:
        main()
    except SystemExit as stopped:
        print("code", stopped.code)
print(*sys.modules)
"""


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


def test_what_is_needed_late_is_imported_late() -> None:
    program = f"import sys, {', '.join(COMMANDS)}; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert not LATE & set(answer.stdout.split())


def test_the_first_line_is_said_before_torch_is_imported(tmp_path: Path) -> None:
    for name in ("photos/ada/1.jpg", "photos/ada/2.jpg", "aligned/manifest.parquet", "m/model.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "run.yaml").write_text((PROJECT / "configs/faces/celeba_cosface.yaml").read_text())
    pairs = "".join(f"ada/1.jpg,{other}.jpg,{int(other < 'b')}\n" for other in OTHERS)
    (tmp_path / "pairs.csv").write_text(pairs)
    data = ["--set", "data.path=aligned", "--set", "verification=[]"]
    commands = [
        ["align", "photos", "out"],
        ["train", "run.yaml", "--run", "run", *data],
        ["classify", "classification/digits", "--run", "run"],
        ["experiment", "classification/wsoftmax_last_layers", "--out", "out"],
        ["reject", "rejection/digits", "--out", "out"],
        ["certify", "--model", "m", "--out", "out"],
        ["embed", "--data", "aligned", "--out", "all.parquet"],
        ["calibrate", "--model", "m", "--data", "aligned", "--protocol", "pairs.csv"],
        ["fit-head", "--model", "m", "--data", "aligned", "--out", "out"],
        ["calibrate-rejection", "--model", "m"],
        ["data", "audit", "aligned", "--against", "aligned", "--model", "m", "--out", "out"],
        ["app", "--port", "0"],
        ["serve", "--port", "0"],
        ["verify", "--model", "m", "--data", "aligned", "--protocol", "pairs.csv", "--out", "results"],
    ]
    answer = subprocess.run(
        [sys.executable, "-c", UP_TO_DEVICE],
        input=json.dumps(commands),
        capture_output=True,
        check=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    said = [line for line in answer.stderr.splitlines() if not line.startswith("faceverif: interrupted")]
    assert said == [
        "aligning 2 photos of photos to arcface-112: out",
        "training iresnet with cosface on aligned: run",
        "training six_conv with lgm on digits: run",
        "training for the table wsoftmax_last_layers: out",
        "reject_digits: attacking 2 models: out",
        "certifying m: out",
        "embedding aligned with the model of the package: all.parquet",
        "setting thresholds of m by pairs.csv",
        "fitting a head of aligned to m: out",
        "scoring held-out photos for a guard of m",
        "auditing aligned against aligned: out",
        "loading the model of the package",
        "loading the model of the package",
        "verifying m by pairs.csv: results",
    ], answer.stderr
    assert not {"torch", "torchvision", "onnxruntime"} & set(answer.stdout.split())
