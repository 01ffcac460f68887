"""Two processes make the step that one makes, and one can go on where two stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_faces import write_faces
from small_runs import checkpoint, run_config, settings, tensors

from faceverif.config.yaml_text import yaml_text
from faceverif.training.loop import train

# Without batch normalisation and dropout a step does not depend on how a batch is divided.
PLAIN = {
    "backbone": {"name": "sphereface", "depth": 20, "embedding_dim": 16, "input_px": 32, "dropout": 0.0},
    "training": {"epochs": 1, "ema_decay": None, "checkpoint_every_minutes": 60},
}


def train_with_torchrun(config: Path, run: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    # Without the two dashes torchrun takes --run for a short form of its own --run-path.
    command += ["-m", "--", "faceverif", "train", str(config), "--run", str(run)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("data"), people=4, photos=5).root


@pytest.mark.slow
def test_two_gloo_processes_train_like_one_and_one_goes_on(tmp_path: Path) -> None:
    data = write_faces(tmp_path / "data", people=4, photos=5, template="arcface-64").root
    plain = PLAIN | {"backbone": PLAIN.get("backbone", {}) | {"input_px": 64}}
    config, two, one = tmp_path / "run.yaml", tmp_path / "two", tmp_path / "one"
    config.write_text(yaml_text(settings(data, **plain)))
    finished = train_with_torchrun(config, two)
    assert finished.returncode == 0, finished.stderr
    assert "2 process(es)" in finished.stderr
    assert finished.stderr.count("epoch 1/1") == 1  # only the first process reports

    train(run_config(data, **plain), one, resume=False)
    ours, theirs = tensors(checkpoint(two)), tensors(checkpoint(one))
    assert ours.keys() == theirs.keys()
    for path, tensor in ours.items():
        torch.testing.assert_close(
            tensor, theirs[path], rtol=1e-4, atol=1e-6, msg=lambda m, p=path: f"{p}: {m}"
        )

    longer = plain | {"training": plain["training"] | {"epochs": 2}}
    train(run_config(data, **longer), two, resume=True)
    assert checkpoint(two)["step"] == 4


def test_accumulated_parts_make_the_step_of_a_whole_batch(data: Path, tmp_path: Path) -> None:
    parts = PLAIN | {"training": PLAIN["training"] | {"accumulate": 4}}
    train(run_config(data, **PLAIN), tmp_path / "whole", resume=False)
    train(run_config(data, **parts), tmp_path / "parts", resume=False)
    ours, theirs = tensors(checkpoint(tmp_path / "parts")), tensors(checkpoint(tmp_path / "whole"))
    for path, tensor in ours.items():
        torch.testing.assert_close(
            tensor, theirs[path], rtol=1e-4, atol=1e-6, msg=lambda m, p=path: f"{p}: {m}"
        )
