"""Killed and resumed, a run ends as if nothing had happened."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch
from small_faces import write_faces
from small_runs import checkpoint, settings, tensors

from data_prep.errors import InputError
from faceverif.config.run import RunConfig, validate_run_config
from faceverif.config.yaml_text import yaml_text
from faceverif.file_names import METRICS_NAME
from faceverif.training.checkpoint import checkpoint_path
from faceverif.training.learner import Learner
from faceverif.training.logs.metrics_log import MetricsLog
from faceverif.training.loop import train

pytestmark = pytest.mark.usefixtures("small_inputs")

# A head that draws too, beside augmentation, dropout and the order of the photos.
HEAD = {"name": "elastic_cosface", "scale": 16, "margin": 0.2, "spread": 0.1}


def run_config(root: Path, **sections: Any) -> RunConfig:
    return validate_run_config(settings(root, **{"head": HEAD} | sections), source="test")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    run = tmp_path_factory.mktemp("whole")
    train(run_config(data), run, resume=False)
    return run


class Killed(Exception):
    pass


def die() -> None:
    raise Killed


def break_off(monkeypatch: pytest.MonkeyPatch, *, at_step: int, how: Callable[[], None] = die) -> None:
    """The process dies, or is asked to stop, between gradients and update."""
    update = Learner.update

    def dying(self: Learner, *, step: int) -> None:
        if step == at_step:
            how()
        update(self, step=step)

    monkeypatch.setattr(Learner, "update", dying)


def rows(run: Path) -> list[dict[str, str]]:
    """The log without its clocks."""
    with (run / "metrics.csv").open() as file:
        found = list(csv.DictReader(file))
    return [{key: row[key] for key in row if key not in ("seconds", "images_per_s")} for row in found]


def assert_same_end(run: Path, whole: Path) -> None:
    ours, theirs = tensors(checkpoint(run)), tensors(checkpoint(whole))
    assert ours.keys() == theirs.keys()
    assert len(ours) > 100
    assert [path for path in ours if not torch.equal(ours[path], theirs[path])] == []
    assert rows(run) == rows(whole)
    assert [int(row["step"]) for row in rows(run)] == [2, 4, 6]
    assert (run / "model.safetensors").stat().st_size == (whole / "model.safetensors").stat().st_size


@pytest.mark.parametrize("step", [1, 3], ids=["first epoch", "middle of the second epoch"])
def test_resumed_run_ends_bit_for_bit_like_an_undisturbed_one(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    with monkeypatch.context() as patch:
        break_off(patch, at_step=step)
        with pytest.raises(Killed):
            train(run_config(data), tmp_path, resume=False)
    assert checkpoint(tmp_path)["step"] == step
    torch.rand(100)  # whatever else the process draws
    train(run_config(data), tmp_path)  # the same call
    assert_same_end(tmp_path, whole)


@pytest.mark.parametrize(("number", "step"), [(signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_a_stopped_run_saves_first_and_the_same_call_continues_it(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, step: int
) -> None:
    """Ctrl-C in the middle of an epoch, SIGTERM during its last step: both reach the loader's process too."""

    def signal_all() -> None:
        for process in (os.getpid(), *(child.pid for child in active_children())):
            os.kill(process, number)

    config = run_config(data, training={"checkpoint_every_minutes": 60, "workers": 1})
    with monkeypatch.context() as patch:
        break_off(patch, at_step=step, how=signal_all)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path)
    assert checkpoint(tmp_path)["step"] == step + 1
    train(config, tmp_path)
    assert_same_end(tmp_path, whole)


@pytest.mark.slow
def test_sigkill_leaves_a_loadable_checkpoint(data: Path, whole: Path, tmp_path: Path) -> None:
    config, run = tmp_path / "run.yaml", tmp_path / "run"
    config.write_text(yaml_text(settings(data, head=HEAD)))
    code = "from data_prep import alignment; alignment.SMALLEST_CUT = 0.25\n"  # as conftest does here
    code += "from faceverif.cli import main; main()"
    command = [sys.executable, "-c", code, "train", str(config), "--run", str(run)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not checkpoint_path(run).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 1 <= checkpoint(run)["step"] <= 6
    train(run_config(data), run, resume=True)
    assert_same_end(run, whole)


def test_resuming_a_finished_run_only_exports_again_and_says_so(
    data: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, log = checkpoint_path(whole).read_bytes(), rows(whole)
    (whole / "model.safetensors").unlink()
    train(run_config(data), whole, resume=True)
    said = capsys.readouterr().err
    assert f"all 3 epochs of {whole} were trained before: only its results are written again" in said
    assert "raise training.epochs" in said
    assert (whole / "model.safetensors").is_file()
    assert checkpoint_path(whole).read_bytes() == before
    assert rows(whole) == log


def test_longer_run_goes_on_where_the_shorter_ended(data: Path, tmp_path: Path) -> None:
    train(run_config(data, training={"epochs": 1}), tmp_path, resume=False)
    train(run_config(data, training={"epochs": 2, "workers": 1}), tmp_path, resume=True)
    assert checkpoint(tmp_path)["step"] == 4


def test_a_run_cannot_be_given_fewer_epochs_than_it_has_made(data: Path, tmp_path: Path) -> None:
    train(run_config(data, training={"epochs": 2}), tmp_path, resume=False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"^training\.epochs: must not be fewer .* Set 2 or more"):
        train(run_config(data, training={"epochs": 1}), tmp_path, resume=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_resume_needs_a_checkpoint(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs .*last\.pt"):
        train(run_config(data), tmp_path, resume=True)


def test_resume_refuses_other_settings_and_names_them(data: Path, whole: Path) -> None:
    other = run_config(data, head=HEAD | {"margin": 0.3}, optimizer={"learning_rate": 1.0})
    with pytest.raises(InputError, match=r"head.margin 0.2 -> 0.3, optimizer.learning_rate 0.05 -> 1.0"):
        train(other, whole, resume=True)


def test_resume_refuses_other_photos(whole: Path, tmp_path: Path) -> None:
    other = write_faces(tmp_path / "other", people=4, photos=6).root
    with pytest.raises(InputError, match="began with other data"):
        train(run_config(other), whole, resume=True)


def test_a_folder_with_another_run_is_not_written_over(data: Path, whole: Path) -> None:
    other = run_config(data, head=HEAD | {"margin": 0.3})
    with pytest.raises(InputError, match=r"whole\d holds a run that began with other settings; .*0.2 -> 0.3"):
        train(other, whole)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04"])
def test_resume_refuses_a_broken_checkpoint(data: Path, tmp_path: Path, content: bytes) -> None:
    checkpoint_path(tmp_path).parent.mkdir(parents=True)
    checkpoint_path(tmp_path).write_bytes(content)
    with pytest.raises(InputError, match="one that this version wrote"):
        train(run_config(data), tmp_path, resume=True)


def test_a_log_that_lost_rows_is_kept_and_the_run_ends_as_it_would_have(
    data: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        break_off(patch, at_step=5)
        with pytest.raises(Killed):
            train(run_config(data), tmp_path)
    log = tmp_path / METRICS_NAME
    header, first, *_ = log.read_text().splitlines(keepends=True)
    log.write_text(header + first)
    train(run_config(data), tmp_path)
    said = capsys.readouterr().err
    assert f"{log} has 1 of the 2 rows up to step 5: as it is, it is kept as metrics-before-step-5" in said
    assert (tmp_path / "metrics-before-step-5.csv").read_text() == header + first
    assert [int(row["step"]) for row in rows(tmp_path)] == [2, 6]
    ours, theirs = tensors(checkpoint(tmp_path)), tensors(checkpoint(whole))
    assert [path for path in ours if not torch.equal(ours[path], theirs[path])] == []


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"step,epoch\nstep,epoch\n", b"step\ngarbage\n", b"loss\n1\n", None]
)
def test_damaged_metrics_are_one_line(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        (tmp_path / METRICS_NAME).mkdir()
    else:
        (tmp_path / METRICS_NAME).write_bytes(content)
    with pytest.raises(InputError, match=r"must hold metrics\.csv .*Move it away: the run then continues"):
        MetricsLog(tmp_path, verifications=(), step=1)
