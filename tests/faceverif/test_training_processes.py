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

pytestmark = pytest.mark.usefixtures("small_inputs")

# Without batch normalisation and dropout a step does not depend on how a batch is divided.
PLAIN = {
    "backbone": {"name": "sphereface", "depth": 20, "embedding_dim": 16, "input_px": 64, "dropout": 0.0},
    "training": {"epochs": 1, "ema_decay": None, "checkpoint_every_minutes": 60},
}
LONG = PLAIN | {"training": PLAIN["training"] | {"epochs": 500}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("data"), people=4, photos=5, template="arcface-64").root


# Three commands in one start of torchrun, which takes longer than all of them: one ends, one is stopped by
# SIGINT in each process, and the same again by a SIGTERM that torchrun passes on to its processes.
PROGRAM = """
import os, signal, sys
from pathlib import Path
import torch
from faceverif.cli import main
from faceverif.training.learner import Learner

update = Learner.update
errors = Path(os.environ["TORCHELASTIC_ERROR_FILE"])
short, long, finished, stopped = sys.argv[1:]

def train(config, run, *, signal_at, send):
    # A folder of each command, in which the processes agree on who speaks, as torchrun makes one of a start.
    place = errors.parent.parent / str(signal_at) / errors.parent.name / errors.name
    os.environ["TORCHELASTIC_ERROR_FILE"] = str(place)

    def updated(self, *, step):
        if step == signal_at:
            send()
        update(self, step=step)

    Learner.update = updated
    sys.argv = ["faceverif", "train", config, "--run", run]
    try:
        main()
    except SystemExit as ended:
        return ended.code

def pass_on():
    if os.environ["RANK"] == "1":
        os.kill(os.getppid(), signal.SIGTERM)

assert not train(short, finished, signal_at=-1, send=None)
assert train(long, stopped, signal_at=0, send=lambda: signal.raise_signal(signal.SIGINT)) == 130
torch.distributed.barrier()  # the next command reads what this one saves
sys.exit(train(long, stopped, signal_at=3, send=pass_on))
"""


@pytest.fixture(scope="module")
def two_processes(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder with the runs of two gloo processes, and what they said."""
    folder = tmp_path_factory.mktemp("torchrun")
    for name, settings_of_run in (("short", PLAIN), ("long", LONG)):
        (folder / f"{name}.yaml").write_text(yaml_text(settings(data, **settings_of_run)))
    (folder / "program.py").write_text(PROGRAM)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--"]
    words = ["program.py", "short.yaml", "long.yaml", "finished", "stopped"]
    ended = subprocess.run(
        [*launch, *words], cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    return folder, ended.stderr


@pytest.mark.slow
def test_a_stopped_torchrun_saves_first_and_another_number_of_processes_goes_on(
    data: Path, two_processes: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, said = two_processes[0] / "stopped", two_processes[1]
    step = checkpoint(run)["step"]
    assert 4 <= step < 1000, said
    for stopped_at in (2, step):
        assert said.count(f"stopped after step {stopped_at}; its checkpoint is saved") == 1
    assert said.count("stopping after this step") == 2  # once for each signal
    assert said.count("faceverif: interrupted. To continue: the same torchrun command") == 2
    assert "SIGKILL" not in said
    assert "Warning" not in said
    assert "deprecated" not in said

    step_made = Learner.update

    def stop_after_a_step(self: Learner, *, step: int) -> None:
        step_made(self, step=step)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Learner, "update", stop_after_a_step)
    with pytest.raises(KeyboardInterrupt):
        train(run_config(data, **LONG), run)
    assert checkpoint(run)["step"] == step + 1


@pytest.mark.slow
def test_two_gloo_processes_train_like_one(
    data: Path, two_processes: tuple[Path, str], tmp_path: Path
) -> None:
    folder, said = two_processes
    assert "2 process(es)" in said
    assert said.count("epoch 1/1") == 1  # only the first process reports
    train(run_config(data, **PLAIN), tmp_path, resume=False)
    assert_alike(folder / "finished", tmp_path)


def assert_alike(one: Path, other: Path) -> None:
    ours, theirs = tensors(checkpoint(one)), tensors(checkpoint(other))
    assert ours.keys() == theirs.keys()
    for path, tensor in ours.items():
        torch.testing.assert_close(
            tensor, theirs[path], rtol=1e-4, atol=1e-6, msg=lambda m, p=path: f"{p}: {m}"
        )


def test_accumulated_parts_make_the_step_of_a_whole_batch(tmp_path: Path) -> None:
    data = write_faces(tmp_path / "data", people=4, photos=5).root
    whole = PLAIN | {"backbone": PLAIN["backbone"] | {"input_px": 32}}
    parts = whole | {"training": PLAIN["training"] | {"accumulate": 4}}
    train(run_config(data, **whole), tmp_path / "whole", resume=False)
    train(run_config(data, **parts), tmp_path / "parts", resume=False)
    assert_alike(tmp_path / "parts", tmp_path / "whole")
