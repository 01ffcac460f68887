"""Two processes make the step that one makes, and one can go on where two stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_faces import write_faces
from small_runs import checkpoint, run_config, settings, tensors

from faceverif.config.yaml_text import yaml_text
from faceverif.training.learner import Learner
from faceverif.training.loop import train

# Without batch normalisation and dropout a step does not depend on how a batch is divided.
PLAIN = {
    "backbone": {"name": "sphereface", "depth": 20, "embedding_dim": 16, "input_px": 32, "dropout": 0.0},
    "training": {"epochs": 1, "ema_decay": None, "checkpoint_every_minutes": 60},
}


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=600, check=False)


def train_with_torchrun(config: Path, run: Path) -> subprocess.CompletedProcess[str]:
    # Without the two dashes torchrun takes --run for a short form of its own --run-path.
    return torchrun("-m", "--", "faceverif", "train", str(config), "--run", str(run))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("data"), people=4, photos=5).root


STOPPED_BY_TORCHRUN = """
import os, signal
from faceverif.cli import main
from faceverif.training.learner import Learner

update = Learner.update

def updated(self, *, step):
    if step == 2 and os.environ["RANK"] == "1":
        os.kill(os.getppid(), signal.SIGTERM)  # torchrun passes it on to all of its processes
    update(self, step=step)

Learner.update = updated
main()
"""


@pytest.mark.slow
def test_a_stopped_torchrun_saves_first_and_another_number_of_processes_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_faces(tmp_path / "data", people=4, photos=5, template="arcface-64").root
    many = PLAIN | {"training": PLAIN["training"] | {"epochs": 500}}
    many |= {"backbone": PLAIN["backbone"] | {"input_px": 64}}
    config, program, run = tmp_path / "run.yaml", tmp_path / "program.py", tmp_path / "run"
    config.write_text(yaml_text(settings(data, **many)))
    program.write_text(STOPPED_BY_TORCHRUN)
    stopped = torchrun("--", str(program), "train", str(config), "--run", str(run))
    step = checkpoint(run)["step"]
    assert 3 <= step < 1000
    said = stopped.stderr
    assert said.count(f"stopped after step {step}; its checkpoint is saved") == 1
    assert said.count("stopping after this step") == 1
    assert said.count("faceverif: interrupted. To continue: the same torchrun command") == 1
    assert "SIGKILL" not in said
    assert "Warning" not in said

    step_made = Learner.update

    def stop_after_a_step(self: Learner, *, step: int) -> None:
        step_made(self, step=step)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Learner, "update", stop_after_a_step)
    with pytest.raises(KeyboardInterrupt):
        train(run_config(data, **many), run)
    assert checkpoint(run)["step"] == step + 1


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
