"""Two runs side by side: only what differs, all that was measured, and what makes numbers incomparable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pages import plain

from data_prep.errors import InputError
from faceverif.config.yaml_text import yaml_text
from faceverif.report.two_runs import TwoRuns, compare_runs, write_page_of_two

RESULT = {
    "accuracy": 0.9,
    "accuracy_se": 0.01,
    "eer": 0.1,
    "folds": [
        {"fold": 0, "accuracy": 0.88, "threshold": 0.5},
        {"fold": 1, "accuracy": 0.92, "threshold": 0.5},
    ],
    "similarity": "cosine",
    "auc": 0.95,
    "protocol_sha256": "p",
    "data_sha256": "d",
    "policy": "centred-largest",
    "flip": True,
}


FOLDS = [
    {"fold": 0, "accuracy": 0.8465, "threshold": 0.5},
    {"fold": 1, "accuracy": 0.9065, "threshold": 0.5},
]


def write_run(
    root: Path, *, head: dict[str, Any], provenance: dict[str, Any], results: dict[str, Any]
) -> Path:
    root.mkdir()
    (root / "config.yaml").write_text(yaml_text({"seed": provenance["seed"], "head": head, "penalties": []}))
    (root / "provenance.json").write_text(json.dumps(provenance))
    (root / "metrics.csv").write_text(
        f"step,loss,accuracy,own/eer\n20,3,0.5,\n40,{head['margin']},0.75,\n40,,,0.2\n"
    )
    for name, result in results.items():
        (root / "verification" / name).mkdir(parents=True)
        (root / "verification" / name / "result.json").write_text(json.dumps(result))
    return root


@pytest.fixture
def two(tmp_path: Path) -> TwoRuns:
    provenance = {
        "seed": 0,
        "git_commit": "abc",
        "data": {"manifest_sha256": "m1", "template": "arcface-112", "policy": "centred-largest"},
        "machine": {"cores": 2},
        "versions": {"torch": "2"},
    }
    changed = provenance | {
        "seed": 1,
        "git_commit": "def",
        "data": provenance["data"] | {"manifest_sha256": "m2"},
    }
    first = write_run(
        tmp_path / "first",
        head={"name": "cosface", "margin": 0.35},
        provenance=provenance,
        results={"view1": RESULT, "view2": RESULT},
    )
    second = write_run(
        tmp_path / "second",
        head={"name": "cosface", "margin": 0.4},
        provenance=changed,
        results={
            "view1": RESULT | {"accuracy": 0.8765, "folds": FOLDS},
            "view2": RESULT | {"data_sha256": "e"},
        },
    )
    return compare_runs(first, second)


def lines(section: list[Any]) -> dict[str, tuple[str, str]]:
    return {line.name: (line.first, line.second) for line in section}


def differences(two: TwoRuns) -> dict[str, str]:
    return {line.name: line.difference for line in two.results if line.difference}


def test_another_similarity_is_another_test(tmp_path: Path) -> None:
    provenance = {"seed": 0, "data": {}, "machine": {}, "versions": {}}
    head = {"name": "cosface", "margin": 0.35}
    said = {
        "cosine": RESULT,
        "earlier": {key: value for key, value in RESULT.items() if key != "similarity"},
        "other": RESULT | {"similarity": "pca-mahalanobis"},
    }
    cosine, earlier, other = (
        write_run(tmp_path / name, head=head, provenance=provenance, results={"own": result})
        for name, result in said.items()
    )
    assert "own accuracy" in differences(compare_runs(cosine, earlier))
    found = compare_runs(earlier, other)
    assert lines(found.results)["own NOT COMPARABLE: similarity"] == ("cosine", "pca-mahalanobis")
    assert "own accuracy" not in differences(found)


def test_only_what_differs_is_listed_under_its_heading(two: TwoRuns) -> None:
    found = {name: lines(section) for name, section in two.differing.items()}
    assert found == {
        "settings": {"seed": ("0", "1"), "head.margin": ("0.35", "0.4")},
        "data": {"data.manifest_sha256": ("m1", "m2")},
        "code": {"git_commit": ("abc", "def")},
        "machine": {},
        "timing": {},
    }
    assert "equal: machine, timing" in two.text()


def test_results_stand_beside_each_other_and_another_test_is_marked(two: TwoRuns) -> None:
    found = lines(two.results)
    assert found["training loss"] == ("0.35", "0.4")
    assert found["view1 accuracy"] == ("90.00 %", "87.65 %")
    assert found["view1 AUC"] == ("95.000 %", "95.000 %")
    marked = {name: values for name, values in found.items() if "NOT COMPARABLE" in name}
    assert marked == {"view2 NOT COMPARABLE: data_sha256": ("d", "e")}


def test_a_difference_has_its_error_over_the_folds_and_none_between_two_tests(two: TwoRuns) -> None:
    assert differences(two) == {
        "training loss": "+0.05",
        "training step": "+0",
        "training accuracy": "+0",
        "view1 accuracy": "-2.35 % ± 1.00 over 2 folds",
        "view1 standard error": "+0.00 %",
        "view1 EER": "+0.00 %",
        "view1 AUC": "+0.000 %",
    }
    assert "-2.35 % ± 1.00 over 2 folds" in two.text()


def test_curves_of_both_runs_share_their_axes(two: TwoRuns, tmp_path: Path) -> None:
    scores = pa.table(
        {"score": [0.9, 0.4, 0.6, 0.1], "same": [True, True, False, False], "scored": [True] * 4}
    )
    for run in (two.first, two.second):
        pq.write_table(scores, Path(run) / "verification/view1/scores.parquet")
    page = plain(write_page_of_two(two, tmp_path / "out").read_text())
    assert 'aria-label="Loss over step. first: 3 at 20, 0.35 at 40; second: 3 at 20, 0.4 at 40."' in page
    assert '<h2 id="view1-errors-at-every-threshold">' in page
    assert "view2-errors" not in page  # without scores there is no curve
    assert "<title>second: threshold 0.4, FAR 50 %" in page
    for number in (0, 1):
        assert f'class="swatch" style="background: var(--model-{number}' in page


def test_the_page_and_the_text_hold_the_same_lines(two: TwoRuns, tmp_path: Path) -> None:
    page = plain(write_page_of_two(two, tmp_path / "out").read_text())
    text = two.text()
    for name in ("head.margin", "data.manifest_sha256", "view1 accuracy", "87.65 %"):
        assert name in page
        assert name in text
    assert json.loads((tmp_path / "out/summary-compare.json").read_text())["kind"] == "Two training runs"


def test_a_run_that_lacks_what_the_other_has_shows_a_dash(tmp_path: Path, two: TwoRuns) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/config.yaml").write_text("seed: 0\n")
    begun = compare_runs(tmp_path / "begun", tmp_path / "first")
    assert lines(begun.results)["view1 accuracy"] == ("-", "90.00 %")
    assert lines(begun.differing["settings"])["head.margin"] == ("-", "0.35")
    with pytest.raises(InputError, match="RUN: must be the folder of a training run"):
        compare_runs(tmp_path / "first", tmp_path / "nowhere")


def classifier(root: Path, *, error: float, **data: Any) -> Path:
    root.mkdir()
    (root / "config.yaml").write_text(yaml_text({"network": {"name": "lenet5"}, "head": {"name": "softmax"}}))
    (root / "provenance.json").write_text(json.dumps({"data": {"name": "mnist", "classes": 10} | data}))
    (root / "metrics.csv").write_text(f"epoch,loss,accuracy,evaluation_error\n1,3,0.5,\n2,1,0.9,{error}\n")
    metrics = {"error": error, "nll": 0.25, "mean_angle_deg": [20.0, None]}
    (root / "result.json").write_text(json.dumps({"metrics": metrics, "images": 100, "evaluated_on": "test"}))
    return root


def test_two_image_classifiers_are_compared_by_their_errors(tmp_path: Path) -> None:
    first, second = classifier(tmp_path / "a", error=0.25), classifier(tmp_path / "b", error=0.125)
    two = compare_runs(first, second)
    assert lines(two.results)["error"] == ("25.00 %", "12.50 %")
    assert lines(two.results)["training epoch"] == ("2", "2")
    assert differences(two)["error"] == "-12.50 %"
    assert "mean angle deg" not in lines(two.results)
    page = plain(write_page_of_two(two, tmp_path / "out").read_text())
    assert "Error on evaluation images over epoch. a: 25 % at 2; b: 12.5 % at 2." in page
    elsewhere = compare_runs(first, classifier(tmp_path / "c", error=0.125, classes=5))
    assert lines(elsewhere.results)["NOT COMPARABLE: data.classes"] == ("10", "5")
    assert "error" not in differences(elsewhere)
    fewer_trained_on = compare_runs(first, classifier(tmp_path / "d", error=0.125, sha256="e"))
    assert "error" in differences(fewer_trained_on)


def test_a_face_run_and_an_image_classifier_are_not_compared(tmp_path: Path) -> None:
    faces = write_run(tmp_path / "f", head={"margin": 0.1}, provenance={"seed": 0}, results={})
    (faces / "config.yaml").write_text(yaml_text({"backbone": {"name": "iresnet"}}))
    with pytest.raises(InputError, match="OTHER: must be a run of the same kind"):
        compare_runs(faces, classifier(tmp_path / "a", error=0.5))
