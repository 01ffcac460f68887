"""A run's folder: one training at a time, and checkpoints that are read under a guard."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from classification.test_classifier_training import config
from small_faces import write_faces
from small_runs import run_config
from torch import nn

from data_prep.errors import InputError
from data_prep.lock import locked
from faceverif.classification.data import load_image_sets
from faceverif.classification.provenance import data_sha256
from faceverif.classification.training import ClassifierRun, train_classifier
from faceverif.config.objective import ObjectiveConfig
from faceverif.config.reading import validate_config
from faceverif.training import stop as stop_request
from faceverif.training.checkpoint import (
    checkpoint_path,
    load_checkpoint,
    load_optimizer,
    only_a_whole_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from faceverif.training.epochs import EpochLoop
from faceverif.training.fabric import launch_fabric, refuse_other_launchers
from faceverif.training.logs.interval import Interval
from faceverif.training.logs.step_figures import StepFigures
from faceverif.training.loop import train
from faceverif.training.run_folder import RunFolder
from faceverif.training.stop import StopRequest

pytestmark = pytest.mark.usefixtures("small_inputs")

SETTINGS: dict[str, Any] = {
    "head": {"name": "softmax"},
    "penalties": [],
    "criterion": {"name": "cross_entropy"},
    "optimizer": {"name": "adamw", "learning_rate": 0.01},
    "training": {"epochs": 1},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_classifier(config(**SETTINGS), folder)
    return folder


@pytest.fixture(scope="module")
def read(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], None]:
    """Continues a run from a checkpoint with that content, as `train_classifier` does before it writes."""
    settings, folder = config(**SETTINGS), tmp_path_factory.mktemp("damaged")
    sets = load_image_sets(settings.data, settings.seed)
    sha256 = data_sha256(*sets)
    training = ClassifierRun(settings, folder, launch_fabric(settings), *sets, sha256=sha256)
    checkpoint_path(folder).parent.mkdir()

    def read(content: bytes) -> None:
        checkpoint_path(folder).write_bytes(content)
        checkpoint = load_checkpoint(folder, settings, data_sha256=sha256)
        assert checkpoint is not None
        training.continue_from(checkpoint)

    return read


def test_a_folder_is_trained_in_by_one_process_at_a_time(tmp_path: Path) -> None:
    data = write_faces(tmp_path / "data", people=2, photos=4).root
    busy = tmp_path / "busy"
    busy.mkdir()
    for training in (
        lambda: train(run_config(data), busy),
        lambda: train_classifier(config(), busy),
    ):
        with (
            locked(busy, command="faceverif train"),
            pytest.raises(InputError, match="--run: must not be"),
        ):
            training()
    assert [path.name for path in busy.iterdir()] == [".lock"]


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A flipped bit, a byte of its own, a cut, a hole, or a piece that stands twice."""
    place, end = sorted(rng.integers(0, len(content), 2))
    return {
        0: lambda: content[:place] + bytes([content[place] ^ 1 << rng.integers(8)]) + content[place + 1 :],
        1: lambda: content[:place] + rng.bytes(1) + content[place + 1 :],
        2: lambda: content[:place],
        3: lambda: content[:place] + bytes(end - place) + content[end:],
        4: lambda: content[:end] + content[place:],
    }[int(rng.integers(5))]()


def test_a_damaged_checkpoint_gives_one_clear_error_or_none(run: Path, read: Callable[[bytes], None]) -> None:
    content, rng = checkpoint_path(run).read_bytes(), np.random.default_rng(7)
    errors = []
    for _ in range(60):
        try:
            read(damaged(content, rng))
        except InputError as error:
            errors.append(str(error))
    assert len(errors) > 50  # the others hit the padding between tensors
    assert not any("\n" in error for error in errors)
    read(content)


MAPPED = Path("/proc/self/maps")


@pytest.mark.skipif(not MAPPED.is_file(), reason="only Linux says which files are mapped")
def test_a_checkpoint_stays_in_its_file_until_it_is_used(tmp_path: Path) -> None:
    """A process that holds few of many classes must not have them all in memory."""
    many = nn.Linear(5, 9)
    optimizer = torch.optim.SGD(many.parameters(), momentum=0.9)
    many(torch.ones(1, 5)).sum().backward()
    optimizer.step()
    known = {"format": 1, "config": {}, "data_sha256": ""}
    save_checkpoint(tmp_path, known | {"head": many.state_dict(), "optimizer": optimizer.state_dict()})
    content = read_checkpoint(tmp_path)
    moment = content["optimizer"]["state"][0]["momentum_buffer"]
    assert str(checkpoint_path(tmp_path)) in MAPPED.read_text()
    few = nn.Linear(5, 2)
    content["optimizer"]["state"] = {0: {"momentum_buffer": moment[:2]}}
    own = torch.optim.SGD(few.parameters(), momentum=0.9)
    load_optimizer(own, content["optimizer"])
    kept = own.state[few.weight]["momentum_buffer"]
    assert torch.equal(kept, moment[:2])
    assert kept.untyped_storage().nbytes() == 2 * 5 * 4
    del content, moment
    assert str(checkpoint_path(tmp_path)) not in MAPPED.read_text()


def test_what_the_system_refuses_is_not_taken_for_damage(tmp_path: Path) -> None:
    for refused in (PermissionError(errno.EACCES, "Permission denied"), MemoryError()):
        with pytest.raises(type(refused)), only_a_whole_checkpoint(tmp_path):
            raise refused


def test_a_key_that_the_checkpoint_does_not_know_has_its_default(
    run: Path, read: Callable[[bytes], None], tmp_path: Path
) -> None:
    content = torch.load(checkpoint_path(run), weights_only=True)
    del content["config"]["training"]["precision"]  # as from a version without it
    torch.save(content, tmp_path / "earlier.pt")
    read((tmp_path / "earlier.pt").read_bytes())
    content["config"]["training"]["batch_size"] = 20
    torch.save(content, tmp_path / "earlier.pt")
    with pytest.raises(InputError, match=r"other settings; got training\.batch_size 20 -> 40\."):
        read((tmp_path / "earlier.pt").read_bytes())


def other_values() -> Iterator[tuple[str, Any]]:
    """Values of another kind at every place of a checkpoint."""
    for key in ("format", "config", "data_sha256", "seconds", "started", "step", "interval", "history"):
        for value in (None, "x", -1, {"a": "b"}, float("nan")):
            yield key, value
    for key in ("model", "optimizer"):
        for value in ({}, {"state": {}, "param_groups": []}, 3):
            yield key, value


def test_values_of_another_kind_are_refused(run: Path, read: Callable[[bytes], None], tmp_path: Path) -> None:
    whole = torch.load(checkpoint_path(run), weights_only=True)
    accepted = []
    for key, value in other_values():
        torch.save(whole | {key: value}, tmp_path / "changed.pt")
        try:
            read((tmp_path / "changed.pt").read_bytes())
        except InputError:
            continue
        accepted.append((key, value))
    assert accepted == [("started", "x")]  # any text may say when a run began


def test_moments_of_another_shape_are_refused_before_a_step_fails_on_them(
    run: Path, read: Callable[[bytes], None], tmp_path: Path
) -> None:
    whole = torch.load(checkpoint_path(run), weights_only=True)
    whole["optimizer"]["state"][0]["exp_avg"] = torch.zeros(3)
    torch.save(whole, tmp_path / "changed.pt")
    with pytest.raises(InputError, match="the checkpoint must be whole"):
        read((tmp_path / "changed.pt").read_bytes())


def test_a_later_signal_interrupts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same one again at once is what `timeout` sends: to the process, and to its group."""
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.made
        monkeypatch.setattr(stop_request, "_SAME_REQUEST_S", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("variables", "launcher"),
    [
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "2"}, "srun"),
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "4"}, "srun"),
        ({"OMPI_COMM_WORLD_SIZE": "3"}, "mpirun"),
    ],
)
def test_tasks_that_would_train_alone_are_refused(
    variables: dict[str, str], launcher: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    data = write_faces(tmp_path / "data", people=2, photos=4).root
    for training in (
        lambda: train(run_config(data), tmp_path / "run"),
        lambda: train_classifier(config(), tmp_path / "run"),
    ):
        with pytest.raises(InputError, match=rf"^{launcher}: must start one .*{launcher} .*torchrun"):
            training()
    assert not (tmp_path / "run").exists()


def test_one_task_and_torchrun_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "1")
    refuse_other_launchers()
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("WORLD_SIZE", "4")
    refuse_other_launchers()


class _Timed(EpochLoop[None]):
    """Two epochs of four steps of half a second; two hours before them, ten minutes after each."""

    def __init__(self, run: Path, clock: list[float]) -> None:
        settings: Any = SimpleNamespace(seed=0, training=SimpleNamespace(epochs=2, batch_size=10))
        fabric: Any = SimpleNamespace(is_global_zero=False, world_size=1, global_rank=0)
        super().__init__(settings, run, fabric, images=40)
        section = validate_config(ObjectiveConfig, {"head": {"name": "softmax"}}, source="test")
        self.folder = RunFolder(run, section, {}, data_sha256="")
        self.learner = self.log = self  # type: ignore[assignment]
        self.clock, self.notes, self.rates, self.unsaved = clock, list[str](), list[float](), list[float]()
        self.interval = Interval()

    def begin(self) -> None:
        self.clock[0] += 7200

    def compute_gradients(self, *_: Any, **__: Any) -> StepFigures:
        self.clock[0] += 0.5
        self.unsaved.append(self.folder.minutes_unsaved)
        return StepFigures(1.0, accuracy=0.5, all_negative=0.0, gradient_norm=1.0)

    def count(self, figures: StepFigures, *, seconds: float) -> None:
        self.interval.add(figures, seconds=seconds)

    def after_epoch(self) -> None:
        self.rates.append(self.interval.steps_per_s)
        self.interval = Interval()
        self.clock[0] += 600

    def _steps_shown(self, *, images: int) -> Any:
        return nullcontext(lambda count, note: self.notes.append(note))

    def batches(self) -> Iterator[None]:
        return iter([None] * 8)

    def state(self) -> dict[str, object]:
        return {}

    def update(self, *, step: int) -> None: ...
    def end_epoch(self) -> None: ...
    def headline(self) -> str: ...  # type: ignore[empty-body]
    def warnings(self) -> list[str]: ...  # type: ignore[empty-body]
    def finish(self) -> None: ...


def test_pace_and_time_left_are_those_of_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    loop = _Timed(tmp_path, clock)
    loop.begin()
    loop.fit(StopRequest())
    assert loop.notes[0].endswith(", 0:04 to the end")  # seven steps of half a second
    assert loop.rates == [2.0, 2.0]
    assert max(loop.unsaved[:4]) < 0.1  # so the first step does not ask for a checkpoint
    assert loop.folder.seconds == 7200 + 8 * 0.5 + 2 * 600
