"""Loggers beside TensorBoard. The services' packages are stand-ins here, with the calls that ours make."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from small_runs import run_config

from data_prep.errors import InputError
from faceverif import extras
from faceverif.file_names import METRICS_NAME
from faceverif.training.logs import loggers
from faceverif.training.logs.loggers import LOGGERS, open_logger
from faceverif.training.logs.loggers.base import place_of
from faceverif.training.logs.metrics_log import MetricsLog

SETTINGS = {"head": {"name": "cosface", "margin": 0.4}, "seed": 0}


class Service:
    """What was sent to a service."""

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.figures: list[tuple[str, float, int]] = []
        self.ended = 0

    def init(self, **settings: Any) -> Service:
        self.begun.append(settings)
        return self

    def log(self, figures: dict[str, float], *, step: int) -> None:
        self.figures += [(name, value, step) for name, value in figures.items()]

    def finish(self) -> None:
        self.ended += 1


class Mlflow(Service):
    """The part of MlflowClient that ours calls."""

    def __call__(self, *, tracking_uri: str) -> Mlflow:
        self.address = tracking_uri
        return self

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return f"experiment {name}"

    def create_run(self, experiment: str, *, run_name: str) -> SimpleNamespace:
        self.begun.append({"name": run_name, "id": "r1", "config": {}})
        return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

    def log_param(self, run: str, key: str, value: Any) -> None:
        self.begun[-1]["config"][key] = value

    def log_metric(self, run: str, name: str, value: float, *, step: int) -> None:
        assert run == "r1"
        self.figures.append((name, value, step))

    def update_run(self, run: str, *, status: str) -> None:
        assert (run, status) == ("r1", "RUNNING")
        self.ended -= 1

    def set_terminated(self, run: str) -> None:
        self.ended += 1


@pytest.fixture(params=sorted(LOGGERS))
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Service]:
    """A stand-in for the package, and nothing of the user's environment."""
    name = request.param
    for variable in ("WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    module, fake = ModuleType(name), Mlflow() if name == "mlflow" else Service()
    module.__dict__.update({"MlflowClient": fake} if name == "mlflow" else {"init": fake.init})
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, LOGGERS[name].rpartition(".")[0], raising=False)
    monkeypatch.setattr(loggers, "require_extra", lambda *_, **__: None)
    return name, fake


def test_a_service_is_told_what_the_csv_holds(service: tuple[str, Service], tmp_path: Path) -> None:
    name, fake = service
    log = MetricsLog(tmp_path, verifications=("lfw",), step=0, logger=open_logger(name, tmp_path, SETTINGS))
    log.write({"step": 5, "epoch": 1, "seconds": 2.0, "loss": 1.5})
    log.write({"step": 10, "epoch": 2, "seconds": 4.0, "lfw/accuracy": 0.9, "lfw/eer": 0.1})
    log.close()
    assert fake.figures == [("training/loss", 1.5, 5), ("lfw/accuracy", 0.9, 10), ("lfw/eer", 0.1, 10)]
    assert fake.ended == 1
    assert tmp_path.name in fake.begun[0]["name"]
    assert fake.begun[0]["config"] == (
        {"head.name": "cosface", "head.margin": 0.4, "seed": 0} if name == "mlflow" else SETTINGS
    )
    if isinstance(fake, Mlflow):
        assert fake.address == f"sqlite:///{tmp_path}/mlflow.db"


def test_a_run_that_continues_continues_there_too(service: tuple[str, Service], tmp_path: Path) -> None:
    name, fake = service
    for _ in range(2):
        open_logger(name, tmp_path, SETTINGS).close()
    ids = [begun["id"] if "id" in begun else begun["name"] for begun in fake.begun]
    assert len(set(ids)) == 1
    assert len(ids) == (1 if name == "mlflow" else 2)
    assert place_of(tmp_path, name) != place_of(tmp_path, "another")


def test_a_service_that_fails_does_not_end_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Gone:
        def write(self, figures: Any, *, step: int) -> None:
            raise ConnectionError("no route to host\nmore")

        def close(self) -> None:
            raise AssertionError("it is not asked again")

    log = MetricsLog(tmp_path, verifications=(), step=0, logger=Gone())
    for step in (1, 2):
        log.write({"step": step, "epoch": 1, "seconds": 1.0, "loss": 1.0})
    log.close()
    assert len((tmp_path / METRICS_NAME).read_text().splitlines()) == 3
    said = capsys.readouterr().err
    assert said.count("logger: it failed (no route to host)") == 1


def test_a_service_that_cannot_begin_is_refused_with_a_way_out(
    service: tuple[str, Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, fake = service
    for method in ("init", "get_experiment_by_name"):
        monkeypatch.setattr(fake, method, lambda *_, **__: 1 / 0, raising=False)
    if name != "mlflow":
        sys.modules[name].init = fake.init
    says = r"logger: \w+ must be ready to log; got division by zero\. .*--set logger=null"
    with pytest.raises(InputError, match=says):
        open_logger(name, tmp_path, SETTINGS)


@pytest.mark.parametrize("name", sorted(LOGGERS))
def test_without_the_package_the_extra_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=rf"logger: needs the packages of the extra {name}; got no {name}"):
        open_logger(name, tmp_path, SETTINGS)


def test_the_config_knows_the_same_names(tmp_path: Path) -> None:
    for name in LOGGERS:
        assert run_config(tmp_path, logger=name).logger == name
    with pytest.raises(InputError, match="logger"):
        run_config(tmp_path, logger="neptune")
