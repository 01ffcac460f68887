"""Face runs under attack: photos of people whom they know, and pairs of people whom they do not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pages import check_page
from small_faces import write_faces
from small_runs import run_config

import robustness.rejection.run
from data_prep.errors import InputError
from faceverif.config.reading import validate_config
from faceverif.models.face_classifier import CLASSIFIER_NAME
from faceverif.training.loop import train
from robustness.attacks import PairAttackResult
from robustness.config.attacks import PairGoal
from robustness.loaded_run import load_run
from robustness.rejection.calibrated_model import fit_model
from robustness.rejection.config import RejectionConfig
from robustness.rejection.findings import Finding
from robustness.rejection.masking import check_masking, checks_for
from robustness.rejection.open_set import _some, load_open_set
from robustness.rejection.pair_trial import verdicts_of
from robustness.rejection.plan import plan_trials
from robustness.rejection.run import run_rejection

pytestmark = pytest.mark.usefixtures("small_inputs")

LGM: dict[str, Any] = {
    "head": {"name": "lgm", "alpha": 0.1},
    "penalties": [{"name": "likelihood", "weight": 0.1}],
    "backbone": {"name": "mobilefacenet", "embedding_dim": 16, "input_px": 32},
    "augmentation": {"flip": 0.0, "rotation_deg": 0, "erase": 0},
}
PEOPLE, PHOTOS = 6, 8


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Aligned photos, a run on them that holds some out, and two pair lists that share a photo."""
    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder / "aligned", people=PEOPLE, photos=PHOTOS)
    training = {"epochs": 8, "ema_decay": None, "checkpoint_every_minutes": 60}
    config = run_config(folder / "aligned", data={"held_out_per_identity": 4}, training=training, **LGM)
    train(config, folder / "run", resume=False)
    write_pair_list(folder / "attacked.csv", photos=(1, 2, 3))
    write_pair_list(folder / "others.csv", photos=(3, 4, 5, 6, 7, 8))
    return folder


def write_pair_list(path: Path, *, photos: tuple[int, ...]) -> None:
    """Of neighbouring photos a genuine pair, and an impostor pair with the next person."""
    lines = ["left,right,same"]
    for person in range(PEOPLE):
        here, other = f"P{person:02d}", f"P{(person + 1) % PEOPLE:02d}"
        for one, two in pairwise(photos):
            lines.append(f"{here}/{here}_{one:04d},{here}/{here}_{two:04d},1")
            lines.append(f"{here}/{here}_{one:04d},{other}/{other}_{two:04d},0")
    path.write_text("\n".join(lines) + "\n")


def settings(root: Path, **changes: Any) -> RejectionConfig:
    plain: dict[str, Any] = {
        "name": "faces",
        "title": "Faces",
        "models": [{"name": "l-gm", "runs": [str(root / "run")], "detector": "lgm_class"}],
        "calibration": 10,
        "rates": [0.1],
        "controls": {"changes": ["noise"]},
        "detectors": ["mahalanobis"],
        "attacks": [{"name": "fgsm", "epsilons": [0.03]}],
        "pairs": {
            "data": str(root / "aligned"),
            "protocol": str(root / "attacked.csv"),
            "calibration_protocol": str(root / "others.csv"),
            "pairs": 6,
            "far": 0.1,
            "goals": ["impersonation"],
            "attacks": [
                {"name": "pgd", "epsilons": [0.1], "steps": 3},
                {"name": "adaptive", "epsilons": [0.1], "rate": 0.1, "steps": 2, "weights": [0.0, 0.1]},
            ],
        },
    }
    return validate_config(RejectionConfig, plain | changes, source="test")


def never_trained(*arguments: object) -> None:
    raise AssertionError("a face run is taken, not trained")


@pytest.fixture(scope="module")
def out(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    run_rejection(settings(root), folder, train=never_trained)
    return folder


def findings(root: Path, out: Path) -> dict[tuple[str | None, str, float], Finding]:
    trials = plan_trials(settings(root), "l-gm", 0)
    return {(each.goal, each.label, each.epsilon): Finding.read(each, out) for each in trials}  # type: ignore[misc]


def test_both_sets_are_run_and_reported(root: Path, out: Path) -> None:
    found = findings(root, out)
    assert all(found.values())
    assert found[None, "fgsm", 0.03].record.images == 4 * PEOPLE - 10
    assert found["impersonation", "pgd", 0.1].record.images == 6
    check_page(out / "report.html")
    page = (out / "report.html").read_text()
    for heading in ("Closed set: images", "Open set: pairs", "Impersonation"):
        assert heading in page
    for name in ("fgsm-curves-roc", "impersonation-pgd-curves-det", "impersonation-adaptive-images-l-gm-1"):
        assert (out / "figures" / f"{name}.svg").is_file()


def test_size_zero_leaves_nothing_to_detect(root: Path, out: Path) -> None:
    found = findings(root, out)
    for goal, label in ((None, "fgsm"), ("impersonation", "pgd")):
        finding = found[goal, label, 0.0]
        assert {its.auc.value for its in finding.detectors.values()} == {0.5}
        assert finding.own.success.value == 0


def test_a_pair_succeeds_where_the_decision_changes(root: Path, out: Path) -> None:
    finding = findings(root, out)["impersonation", "pgd", 0.1]
    scores, threshold = finding.scores(), finding.record.facts["threshold"]
    assert scores.similarity is not None
    before, after = scores.similarity
    np.testing.assert_array_equal(scores.verdicts.clean_correct, before < threshold)
    np.testing.assert_array_equal(scores.verdicts.success, (before < threshold) & (after >= threshold))
    assert (after > before).all()
    assert scores.verdicts.success.any()
    noise = findings(root, out)["impersonation", "noise", 0.1].scores()
    np.testing.assert_allclose(noise.similarity[0], before, atol=1e-6)  # type: ignore[index]


@pytest.fixture(scope="module")
def with_twin(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Finding]:
    """Pairs attacked with and without knowledge of the model; the transfer comes from a twin of it."""
    folder, run = tmp_path_factory.mktemp("twin"), str(root / "run")
    attacks = [
        {"name": "fgsm", "epsilons": [0.05]},
        {"name": "pgd", "epsilons": [0.05, 1], "steps": 5},
        {"name": "apgd", "epsilons": [0.05], "steps": 5},
        {"name": "transfer", "epsilons": [0.05], "steps": 5, "source": "twin"},
        {"name": "adaptive", "epsilons": [0.05], "rate": 0.1, "steps": 5, "weights": [0.0]},
    ]
    twins = [{"name": name, "runs": [run], "detector": "lgm_class"} for name in ("l-gm", "twin")]
    config = settings(root, models=twins, attacks=[], pairs=plain_pairs(root) | {"attacks": attacks})
    with pytest.MonkeyPatch.context() as patched:  # nobody looks at the page
        patched.setattr(robustness.rejection.run, "write_rejection_report", lambda *_: folder)
        run_rejection(config, folder, train=never_trained)
    trials = [trial for model in ("l-gm", "twin") for trial in plan_trials(config, model, 0)]
    return {(each.model, each.path.rpartition("/")[2]): Finding.read(each, folder) for each in trials}  # type: ignore[misc]


def test_a_transfer_on_pairs_is_the_attack_on_its_source(with_twin: dict[tuple[str, str], Finding]) -> None:
    transferred, white = (with_twin["l-gm", f"{name}-linf-0.05"] for name in ("transfer", "pgd"))
    np.testing.assert_allclose(transferred.scores().similarity, white.scores().similarity, atol=1e-5)  # type: ignore[arg-type]
    assert transferred.own.zero_gradient_share is None
    assert ("twin", "transfer-linf-0.05") not in with_twin


def test_one_step_on_pairs_stays_in_the_ball_and_does_less_than_many(
    with_twin: dict[tuple[str, str], Finding],
) -> None:
    one, many = (with_twin["l-gm", f"{name}-linf-0.05"].scores() for name in ("fgsm", "pgd"))
    assert one.similarity is not None
    assert many.similarity is not None
    assert one.sizes.max() <= 0.05 + 1e-6
    assert (one.similarity[1] > one.similarity[0]).all()
    assert many.similarity[1].mean() > one.similarity[1].mean()


def test_every_check_of_masking_is_made_on_pairs(with_twin: dict[tuple[str, str], Finding]) -> None:
    checks = check_masking(list(with_twin.values()))
    verdicts = {check.name: check.verdict for check in checks if check.model == "l-gm"}
    assert set(verdicts) == set(checks_for("impersonation"))
    assert "not run" not in verdicts.values()


def test_a_transfer_needs_a_source_that_sees_the_same(root: Path) -> None:
    run = load_run(root / "run")
    assert run.spec is not None
    other_crops = replace(run, spec=replace(run.spec, input_px=40))
    assert run.sees_as(run, classes=True)
    assert not run.sees_as(other_crops, classes=False)


def test_verdicts_on_pairs_turn_with_the_goal() -> None:
    before, after = torch.tensor([0.2, 0.2, 0.8, 0.8]), torch.tensor([0.2, 0.8, 0.2, 0.8])
    verdicts = {
        goal: verdicts_of(
            PairAttackResult(goal, torch.empty(4, 0), before, after, torch.zeros(4), None), accept_from=0.5
        )
        for goal in get_args(PairGoal)
    }
    impersonation, dodging = verdicts["impersonation"], verdicts["dodging"]
    assert impersonation.clean_correct.tolist() == [True, True, False, False]
    assert impersonation.correct.tolist() == [True, False, True, False]
    assert impersonation.success.tolist() == [False, True, False, False]
    assert dodging.success.tolist() == [False, False, True, False]
    assert dodging.zero_gradient is None


def test_thresholds_come_from_photos_that_are_not_attacked(root: Path) -> None:
    config = settings(root, pairs=plain_pairs(root) | {"goals": ["impersonation", "dodging"]})
    run = load_run(root / "run")
    open_set = load_open_set(config, fit_model(config, config.models[0], run), run)
    assert {goal: len(pairs) for goal, pairs in open_set.pairs.items()} == {"impersonation": 6, "dodging": 6}
    touched = {
        row for pairs in open_set.pairs.values() for row in (*pairs.probes.rows, *pairs.references.rows)
    }
    photo = run.unseen.dataset.column("photo")  # type: ignore[union-attr]
    assert {name[-8:] for name in photo[sorted(touched)]} <= {"0001.jpg", "0002.jpg", "0003.jpg"}
    facts = open_set.facts
    assert facts["genuine_pairs"] + facts["impostor_pairs"] + facts["pairs_left_out"] == 2 * 5 * PEOPLE
    assert facts["pairs_left_out"] > 0
    assert facts["false_accepts"] <= 0.1 * facts["impostor_pairs"]
    assert {point.calibration_size for points in open_set.points.values() for point in points} == {
        facts["calibration_photos"]
    }


def test_it_goes_on_and_does_nothing_twice(root: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robustness.rejection.run, "write_rejection_report", lambda *arguments: out)
    found = findings(root, out)
    gone = found["impersonation", "adaptive", 0.1]
    path = gone.stem.with_name(f"{gone.stem.name}.json")
    before = gone.scores().attacked
    path.unlink()
    kept = found[None, "fgsm", 0.03].stem.with_name("fgsm-linf-0.03.json")
    time = kept.stat().st_mtime_ns
    run_rejection(settings(root), out, train=never_trained)
    assert kept.stat().st_mtime_ns == time
    again = findings(root, out)["impersonation", "adaptive", 0.1].scores().attacked
    np.testing.assert_allclose(again["lgm_class"], before["lgm_class"], rtol=1e-4)
    changed = settings(root, pairs=plain_pairs(root) | {"far": 0.2})
    with pytest.raises(InputError, match=r"settings asked for now.*pairs\.far 0\.1 -> 0\.2"):
        run_rejection(changed, out, train=never_trained)


@pytest.mark.parametrize(("name", "factor"), [("impostor_pairs", 2), ("threshold", 1.1)])
def test_pairs_that_have_changed_since_are_refused(
    root: Path, out: Path, tmp_path: Path, name: str, factor: float
) -> None:
    shutil.copytree(out / "trials", tmp_path / "trials")
    folder = tmp_path / "trials/l-gm/training-0/impersonation"
    (folder / "noise-linf-0.1.json").unlink()
    record = json.loads((folder / "pgd-linf-0.json").read_text())
    del record["sha256"]  # as earlier versions wrote it
    record["facts"][name] *= factor
    (folder / "pgd-linf-0.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=rf"pgd-linf-0: must have been made from the data .* got {name} "):
        run_rejection(settings(root), tmp_path, train=never_trained)
    assert not (folder / "noise-linf-0.1.json").exists()


def plain_pairs(root: Path) -> dict[str, Any]:
    pairs = settings(root).pairs
    assert pairs is not None
    return pairs.model_dump(mode="json")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pairs": {"protocol": "gone.csv"}}, r"pairs\.protocol: must be a list of pairs; got .*gone\.csv"),
        ({"pairs": {"pairs": 13}}, r"pairs\.pairs: must be at most 12, the impostor pairs"),
        (
            {"pairs": {"far": 0.001}},
            r"pairs\.far: must be resolvable: 0\.001 needs at least 1,000 impostor pairs",
        ),
        (
            {"attacks": [], "rates": [0.001], "pairs": {"far": 0.1}},
            r"rates: 0\.001 needs 999 photos in pairs\.calibration_protocol.* got \d+\. .* or rates of 0\.0",
        ),
        ({"calibration": 24}, r"calibration: must be less than the 24 images"),
        (
            {"models": [{"name": "a", "runs": ["run"], "detector": "center"}]},
            r"^models\.0\.detector: the center likelihood needs .*got center for a",
        ),
    ],
)
def test_bad_input_is_said_before_anything_is_attacked(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(root)
    if changes.get("pairs"):
        attacks = [{"name": "pgd", "epsilons": [0.1]}]
        changes = changes | {"pairs": plain_pairs(root) | {"attacks": attacks} | changes["pairs"]}
    with pytest.raises(InputError, match=said):
        run_rejection(settings(root, **changes), tmp_path, train=never_trained)
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_goal_without_pairs_is_left_out_by_the_advice() -> None:
    with pytest.raises(
        InputError, match=r"pairs\.goals: .*dodging needs genuine pairs.*Leave dodging out of"
    ):
        _some(np.zeros(3, dtype=bool), 1, "dodging", seed=0)


@pytest.mark.parametrize("key", ["protocol", "calibration_protocol"])
def test_a_benchmarks_pairs_are_refused_on_the_photos_of_another(
    root: Path, tmp_path: Path, key: str
) -> None:
    pairs = plain_pairs(root) | {
        "data": str(shutil.copytree(root / "aligned", tmp_path / "cplfw-112")),
        key: str(shutil.copy(root / "others.csv", tmp_path / "calfw.csv")),
    }
    config = settings(root, attacks=[], pairs=pairs)
    with pytest.raises(InputError, match=r"pairs\.data: must hold the photos of CALFW.* got .*cplfw-112"):
        run_rejection(config, tmp_path / "out", train=never_trained)


def test_what_a_run_lacks_is_said(root: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.mkdir()
    (older / "model.safetensors").write_bytes((root / "run" / "model.safetensors").read_bytes())
    models = [{"name": "l-gm", "runs": [str(older)], "detector": "lgm_class"}]
    with pytest.raises(InputError, match=f"must hold a {CLASSIFIER_NAME}"):
        run_rejection(settings(root, models=models), tmp_path / "out", train=never_trained)
    train(run_config(root / "aligned", training={"epochs": 1}, **LGM), tmp_path / "all", resume=False)
    models = [{"name": "l-gm", "runs": [str(tmp_path / "all")], "detector": "lgm_class"}]
    with pytest.raises(InputError, match="not trained on; got none"):
        run_rejection(settings(root, models=models), tmp_path / "out", train=never_trained)
    with pytest.raises(InputError, match=r"pairs: attacks or pairs must be given|attacks or pairs must"):
        settings(root, attacks=[], pairs=None)
