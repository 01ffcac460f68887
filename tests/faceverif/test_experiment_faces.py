"""A table of face models: trained, verified, compared, and not trained twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_faces import write_faces, write_pairs
from small_runs import settings

from data_prep.errors import InputError
from faceverif.config.yaml_text import yaml_text
from faceverif.experiment import faces, run
from faceverif.experiment.faces import FaceTask
from faceverif.experiment.report import write_experiment_report
from faceverif.experiment.run import run_experiment
from faceverif.experiment.table import Table
from faceverif.experiment.task import FinishedRun
from faceverif.report import run_page
from faceverif.verification.figures import ScoredPairs

pytestmark = pytest.mark.usefixtures("small_inputs")
RUNS = 6


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data and pairs of eight people."""
    place = tmp_path_factory.mktemp("faces")
    write_faces(place / "data", people=8, photos=5)
    write_pairs(place / "pairs.csv", people=8, photos=5)
    return place


@pytest.fixture(scope="module", autouse=True)
def few_pages() -> Iterator[None]:
    """Pages of single runs have tests of their own; that of a table is drawn once, when it is whole."""

    def drawn_once(table: Table, runs: Sequence[FinishedRun], out: Path) -> Path:
        page = out / "report.html"
        if len(runs) == RUNS and not page.exists():
            write_experiment_report(table, runs, out)
        return page

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "write_experiment_report", drawn_once)
        for name in ("write_run_report", "write_verification_report"):
            patch.setattr(run_page, name, lambda folder: folder)
        yield


@pytest.fixture(scope="module")
def finished(place: Path) -> tuple[Path, Path, Table]:
    """The config, the folder and the cells of a finished table. Nobody writes to it."""
    path, out = write(place, whole_table(place)), place / "out"
    return path, out, run_experiment(path, out)


@pytest.fixture
def table(place: Path) -> dict[str, Any]:
    return whole_table(place)


def whole_table(place: Path) -> dict[str, Any]:
    """Two methods under two heads, judged on the pairs of eight people."""
    data, pairs = place / "data", place / "pairs.csv"
    own = {"name": "own", "data": str(data), "protocol": str(pairs)}
    common = settings(data, training={"epochs": 1}, verification=[own])
    del common["seed"]
    return {
        "name": "toy",
        "title": "Toy faces",
        "task": "faces",
        "metric": "own/accuracy",
        "baseline": "plain",
        "common": common,
        "cases": [
            {"name": "cosface", "settings": {}, "published": {"plain": {"mean": 0.99}}},
            {"name": "softmax", "settings": {"head": {"name": "softmax"}}},
        ],
        "methods": [
            {"name": "plain", "seeds": [0, 1]},
            {
                "name": "gsc",
                "seeds": [0],
                "settings": {"penalties": [{"name": "gsc", "weight": 0.02, "top_c": 2}]},
            },
        ],
    }


def write(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "toy.yaml"
    path.write_text(yaml_text(content), encoding="utf-8")
    return path


@pytest.mark.slow
def test_from_yaml_to_page(finished: tuple[Path, Path, Table], monkeypatch: pytest.MonkeyPatch) -> None:
    path, out, experiment = finished
    cells = {(cell.method, cell.case): cell for cell in experiment.cells}
    assert [len(cells[place].values) for place in cells] == [2, 1, 2, 1]
    result = json.loads((out / "gsc/softmax/seed0/verification/own/result.json").read_text())
    assert cells["gsc", "softmax"].values == [result["accuracy"]]
    assert cells["gsc", "softmax"].others == {"own/eer": result["eer"], "own/auc": result["auc"]}
    comparison = cells["gsc", "softmax"].comparison
    assert comparison is not None
    assert comparison.difference == pytest.approx(
        result["accuracy"] - cells["plain", "softmax"].values[0], abs=1e-12
    )
    page = (out / "report.html").read_text(encoding="utf-8")
    for heading in ("Seeds", "Training, cosface", "ROC on own, softmax", "Other metrics", "Machine"):
        assert f">{heading}</h2>" in page
    assert ">own accuracy in %, ours</th>" in page
    assert "own EER in %" in page
    assert "Evaluated on own, " in page

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr(faces, "train", refused)
    run_experiment(path, out)


def test_a_run_without_its_verification_has_not_finished(
    finished: tuple[Path, Path, Table], tmp_path: Path
) -> None:
    path, out = finished[0], tmp_path / "out"
    shutil.copytree(finished[1], out)
    run, task = out / "plain/cosface/seed0", FaceTask()
    found = (run / "verification/own/result.json").read_bytes()
    assert task.result(run) is not None
    (run / "verification/own/result.json").unlink()
    assert task.result(run) is None
    run_experiment(path, out)  # goes on from its checkpoint: nothing is left but to verify
    again = json.loads((run / "verification/own/result.json").read_text())
    assert again["accuracy"] == json.loads(found)["accuracy"]
    with pytest.raises(
        InputError,
        match=r"seed0: must have the settings that .*/plain/cosface/seed0 .*head\.scale 16\.0 -> 8",
    ):
        run_experiment(path, out, overrides=["common.head.scale=8"])


def test_the_roc_is_that_of_the_scored_pairs(finished: tuple[Path, Path, Table]) -> None:
    verification = finished[1] / "plain/cosface/seed0/verification/own"
    roc = ScoredPairs.read(verification).roc()
    result = json.loads((verification / "result.json").read_text())
    assert (roc.genuine, roc.impostors) == (result["genuine_pairs"], result["impostor_pairs"])
    area = float(np.trapezoid(roc.tar, roc.far))
    assert area == pytest.approx(result["auc"])


@pytest.mark.parametrize("metric", ["error", "lfw-view2/accuracy", "own/tar"])
def test_a_metric_that_is_not_measured_is_refused(tmp_path: Path, table: dict[str, Any], metric: str) -> None:
    with pytest.raises(InputError, match=r"metric: must be measured .*own/accuracy, own/eer, own/auc"):
        run_experiment(write(tmp_path, table | {"metric": metric}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_faces_need_a_protocol(tmp_path: Path, table: dict[str, Any]) -> None:
    del table["common"]["verification"]
    with pytest.raises(InputError, match=r"metric: must be measured .*none, since its verification is empty"):
        run_experiment(write(tmp_path, table), tmp_path / "out")
