"""Several processes make the step that one makes, whatever holds the classes, and any number goes on."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import run_agents, run_forked
from safetensors.torch import load_file
from small_faces import write_faces
from small_runs import checkpoint, run_config, settings, tensors
from torch import nn

from data_prep import alignment
from data_prep.errors import InputError
from faceverif.backbones import BACKBONES
from faceverif.backbones.base import Backbone
from faceverif.backbones.plain_residual import fully_connected
from faceverif.cli import main
from faceverif.config.yaml_text import yaml_text
from faceverif.sharding.collectives import processes
from faceverif.training import processes as training_processes
from faceverif.training.checkpoint import checkpoint_path
from faceverif.training.learner import Learner
from faceverif.training.loop import train
from faceverif.training.processes import lost_processes_named, refuse_differences, wait_for_all

pytestmark = [
    pytest.mark.usefixtures("small_inputs"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used a GPU cannot be forked"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def smallest_net(*, embedding_dim: int, input_px: int, **_: Any) -> Backbone:
    """Without batch normalisation and dropout: a step does not depend on how a batch is divided."""
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, stride=8, padding=1), nn.PReLU(4))
    embed = fully_connected(4 * (input_px // 8) ** 2, embedding_dim, dropout=0.0)
    return Backbone(trunk, embed, embedding_dim=embedding_dim, input_px=input_px)


@pytest.fixture(autouse=True, scope="module")
def small_net() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "sphereface", smallest_net)
        yield


PLAIN: dict[str, Any] = {
    "backbone": {"name": "sphereface", "depth": 20, "embedding_dim": 16, "input_px": 32, "dropout": 0.0},
    "training": {"epochs": 1, "batch_size": 6, "ema_decay": None, "checkpoint_every_minutes": 60},
}
SPREAD = PLAIN | {"training": PLAIN["training"] | {"shard_classes": True}}
LONG = PLAIN | {"training": SPREAD["training"] | {"epochs": 500, "checkpoint_every_minutes": 0}}


def command(folder: Path, name: str, *, signal_at: int = -1, send: Any = None) -> int:
    """`faceverif train NAME.yaml` in this process, which gets a signal before a step; its exit code."""
    errors = Path(os.environ["TORCHELASTIC_ERROR_FILE"])
    update = Learner.update
    # A folder for each command, in which the processes agree on who speaks, as torchrun makes at a start.
    place = errors.parent.parent / f"{name}{signal_at}" / errors.parent.name / errors.name
    os.environ["TORCHELASTIC_ERROR_FILE"] = str(place)

    def updated(self: Learner, *, step: int) -> None:
        if step == signal_at:
            send()
        update(self, step=step)

    Learner.update = updated  # type: ignore[method-assign]
    sys.argv = ["faceverif", "train", str(folder / f"{name}.yaml"), "--run", str(folder / name)]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        Learner.update = update  # type: ignore[method-assign]
        os.environ["TORCHELASTIC_ERROR_FILE"] = str(errors)
    return 0


def shapes_in(file: Path) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in load_file(file).items()}


def vanish() -> None:
    if os.environ["RANK"] == "1":
        Path("vanished").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def commands(folder: Path) -> None:
    """What each process does: two trainings, one that Ctrl-C stops, and one that loses a process.

    torchrun starts the processes once more; that training continues, until SIGTERM stops both agents.
    """
    BACKBONES["sphereface"], alignment.SMALLEST_CUT = smallest_net, 0.25  # as the fixtures do
    os.chdir(folder)
    if not Path("vanished").exists():
        assert command(folder, "short") == 0
        assert command(folder, "spread") == 0
        assert command(folder, "long", signal_at=0, send=lambda: signal.raise_signal(signal.SIGINT)) == 130
        torch.distributed.barrier()  # the next command reads what this one saves
        sys.exit(command(folder, "long", signal_at=3, send=vanish))
    sys.exit(command(folder, "long", signal_at=6, send=lambda: os.kill(os.getppid(), signal.SIGTERM)))


@pytest.fixture(scope="module")
def two_machines(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder with the runs of two machines, and what they said."""
    folder = tmp_path_factory.mktemp("torchrun")
    for name, sections in (("short", PLAIN), ("spread", SPREAD), ("long", LONG)):
        (folder / f"{name}.yaml").write_text(yaml_text(settings(data, **sections)))
    return folder, run_agents(commands, folder, folder, restarts=1)


@pytest.mark.slow
def test_two_machines_train_like_one_process(
    data: Path, two_machines: tuple[Path, str], tmp_path: Path
) -> None:
    folder, said = two_machines
    assert "2 processes" in said, said
    assert said.count("epoch 1/1: 18/18") == 2  # of two trainings only the first process reports
    train(run_config(data, **PLAIN), tmp_path)
    assert_alike(folder / "short", tmp_path)
    assert_alike(folder / "spread", tmp_path)
    for name in ("model.safetensors", "classifier.safetensors"):
        ours, theirs = (shapes_in(run / name) for run in (folder / "spread", tmp_path))
        assert ours == theirs


@pytest.mark.slow
def test_a_lost_process_costs_one_line_and_torchrun_continues(two_machines: tuple[Path, str]) -> None:
    folder, said = two_machines
    assert (
        said.count("stopped after step 2; its checkpoint is saved") == 1
    )  # both had the signal in the first
    lost = "faceverif: torchrun: all processes of a training must stay alive and in reach of each other; got"
    assert said.count(lost) == 1, said
    assert ", from step 3; 2 processes" in said
    step = checkpoint(folder / "long")["step"]
    assert 7 <= step < 1000
    assert said.count(f"stopped after step {step}; its checkpoint is saved") == 1


@pytest.mark.slow
def test_any_number_of_processes_goes_on(data: Path, two_machines: tuple[Path, str], tmp_path: Path) -> None:
    config, alone, three = run_config(data, **LONG), tmp_path / "alone", tmp_path / "three"
    for run in (alone, three):
        shutil.copytree(two_machines[0] / "long", run)
    until = checkpoint(alone)["step"] + 2
    run_forked(two_more_steps, 1, tmp_path, config, alone, until)
    run_forked(two_more_steps, 3, tmp_path, config, three, until)  # of 4 classes: 2, 1 and 1
    assert checkpoint(alone)["step"] == checkpoint(three)["step"] == until
    assert_alike(three, alone)


def two_more_steps(rank: int, config: Any, run: Path, until: int) -> None:
    """Stopped by SIGTERM, of which other processes hear in the next step."""
    update, several = Learner.update, processes() > 1

    def stop(self: Learner, *, step: int) -> None:
        update(self, step=step)
        if step == until - (2 if several else 1):
            signal.raise_signal(signal.SIGTERM)

    Learner.update = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(config, run)


def refuses_another_config(rank: int, data: Path) -> None:
    other = run_config(data, head={"margin": 0.1 * (1 + rank)}, training={"workers": rank})
    rule = "^torchrun: all processes must run the same code with the same config, data and checkpoint; got "
    with pytest.raises(InputError, match=rf"{rule}process 1 on .* with head\.margin 0\.1 -> 0\.2\. Make"):
        refuse_differences(other, data_sha256="abc", checkpoint=None)
    with pytest.raises(InputError, match=r"process 1 on .* with sha256 abc0 -> abc1\. Make"):
        refuse_differences(run_config(data), data_sha256=f"abc{rank}", checkpoint=None)
    with pytest.raises(InputError, match=r"process 1 on .* with checkpoint of step 7 -> none\. Make"):
        refuse_differences(run_config(data), data_sha256="abc", checkpoint=None if rank else {"step": 7})
    training_processes.code_identity = lambda: {"faceverif": f"0.1, code {rank}f00"}
    with pytest.raises(InputError, match=r"1 on .* with faceverif 0\.1, code 0f00 -> 0\.1, code 1f00\. Make"):
        refuse_differences(run_config(data), data_sha256="abc", checkpoint=None)


def test_a_process_with_other_code_settings_or_data_stops_all(data: Path, tmp_path: Path) -> None:
    run_forked(refuses_another_config, 2, tmp_path, data)


def waits_for_long_work(rank: int, folder: Path) -> None:
    """The first process works alone for longer than the processes wait for each other within a step."""
    wait_for_all()
    c10d = torch.distributed.distributed_c10d
    set_limit = getattr(torch.distributed, "set_timeout", None) or c10d._set_pg_timeout  # until torch 2.14
    set_limit(timedelta(seconds=1))  # it was half an hour
    with lost_processes_named(folder):
        time.sleep(0 if rank else 2)
        wait_for_all()
    late = r"^torchrun: .*; got one that did not answer in time\. See .* There is no checkpoint in .* again\."
    if rank:
        with pytest.raises(InputError, match=late), lost_processes_named(folder):
            torch.distributed.all_reduce(torch.zeros(1))
        checkpoint_path(folder).parent.mkdir()
        checkpoint_path(folder).touch()
        (folder / "seen").touch()
    else:
        while not (folder / "seen").exists():
            time.sleep(0.05)
        ended = r"^torchrun: .*; got one that ended or cannot be reached\. The last checkpoint in .* is whole"
        with pytest.raises(InputError, match=ended), lost_processes_named(folder):
            torch.distributed.all_reduce(torch.zeros(1))
    os._exit(0)  # the group has lost a process, and cannot end together


def test_processes_wait_for_the_long_work_of_one_but_not_for_one_that_hangs(tmp_path: Path) -> None:
    run_forked(waits_for_long_work, 2, tmp_path, tmp_path)


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
    parts = whole | {"training": PLAIN["training"] | {"accumulate": 3}}
    train(run_config(data, **whole), tmp_path / "whole", resume=False)
    train(run_config(data, **parts), tmp_path / "parts", resume=False)
    assert_alike(tmp_path / "parts", tmp_path / "whole")
