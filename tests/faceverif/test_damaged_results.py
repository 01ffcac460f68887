"""Damaged results of a run: a page is made or one line says what is wrong; there is never a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_faces import pattern_embedder, write_faces, write_pairs

from data_prep.errors import InputError
from data_prep.protocols import protocol_alone
from faceverif.report.run_page import write_run_report
from faceverif.report.two_runs import compare_runs
from faceverif.verification.calibration import CALIBRATION_NAME, load_calibration, write_calibration
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.runner import evaluate, write_result

RESULT, SCORES = "verification/dev/result.json", "verification/dev/scores.parquet"
FOREIGN: list[Any] = [None, True, -1, 10**400, 1.5, float("nan"), "", "x", "\ud800", [], [1], {}, {"a": 1}]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    dataset = write_faces(folder / "data", people=6, noise=110)
    pairs = protocol_alone(write_pairs(folder / "pairs.csv", people=6))
    result = evaluate(EmbeddedPhotos(pattern_embedder(), dataset, flip=False), pairs, subtract_mean=False)
    run = folder / "run"
    write_result(result, run / "verification/dev")
    write_calibration(run, result)
    (run / "config.yaml").write_text("head: {name: cosface}\n")
    (run / "provenance.json").write_text(
        json.dumps({"seed": 1, "versions": {"torch": "2"}, "data": {"a": 1}})
    )
    return run


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def test_a_stopped_second_verification_leaves_the_files_of_the_first(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = run / "verification/dev"
    first = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    dataset = write_faces(tmp_path / "others", people=5, noise=90)
    pairs = protocol_alone(write_pairs(tmp_path / "pairs.csv", people=5))
    other = evaluate(EmbeddedPhotos(pattern_embedder(), dataset, flip=False), pairs, subtract_mean=False)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("faceverif.report.run_page.write_page", stop)
        with pytest.raises(KeyboardInterrupt):
            write_result(other, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == first
    write_result(other, out)
    pictures = {int(path.stem) for path in (out / "figures/pairs").iterdir()}
    assert pictures <= set(range(len(pairs)))
    assert json.loads((run / RESULT).read_text())["pairs"] == len(pairs)


def never_a_traceback(read: Callable[[], object]) -> bool:
    """Whether it was refused, on one line."""
    try:
        read()
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return True
    return False


def mutated(content: Any, random: np.random.Generator) -> Any:
    """A copy with one value at a random place replaced or removed."""
    content = json.loads(json.dumps(content))
    place = content
    while True:
        keys = list(range(len(place))) if isinstance(place, list) else list(place)
        key = keys[int(random.integers(len(keys)))]
        if not (isinstance(place[key], dict | list) and place[key]) or random.random() < 0.3:
            break
        place = place[key]
    if random.random() < 0.3:
        del place[key]
    else:
        place[key] = FOREIGN[int(random.integers(len(FOREIGN)))]
    return content


@pytest.mark.parametrize("name", [RESULT, "provenance.json", CALIBRATION_NAME])
def test_no_damaged_json_is_a_traceback(whole: Path, run: Path, name: str) -> None:
    content, random = json.loads((run / name).read_text()), np.random.default_rng(7)
    (run / "verification/dev/figures/pairs").rename(run / "pairs")  # to be quick
    refused = 0
    for _ in range(25):
        (run / name).write_text(json.dumps(mutated(content, random)))
        refused += never_a_traceback(lambda: write_run_report(run))
        refused += never_a_traceback(lambda: compare_runs(whole, run))
    assert refused, "no damage was noticed"


@pytest.mark.parametrize(
    "name", [RESULT, "provenance.json", CALIBRATION_NAME, "verification/dev/scores.parquet"]
)
@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b'{"a":', b"[" * 5000])
def test_what_is_no_object_is_refused(run: Path, name: str, content: bytes) -> None:
    (run / name).write_bytes(content)
    assert never_a_traceback(lambda: write_run_report(run))


def test_a_calibration_that_was_changed_is_refused(run: Path) -> None:
    content = json.loads((run / CALIBRATION_NAME).read_text())
    sha256 = content["model_sha256"]
    load_calibration(run, model_sha256=sha256)
    (point,) = content["points"]
    for changed in (
        {"points": []},
        {"impostor_pairs": 0},
        {"genuine_pairs": -3},
        {"points": [point | {"threshold": float("nan")}]},
        {"points": [point | {"threshold": 3.0}]},
        {"points": [point | {"tar": 1.5}]},
        {"points": [point | {"false_accepts": 10**6}]},
        {"points": [point | {"far": 0}]},
        {"points": [point | {"measured_far": point["measured_far"] / 2}]},
        {"points": [point | {"measured_far": 0.2, "false_accepts": 3}]},
        {"points": [point, point]},
    ):
        (run / CALIBRATION_NAME).write_text(json.dumps(content | changed))
        with pytest.raises(InputError, match=r"calibration\.json must be as written"):
            load_calibration(run, model_sha256=sha256)
