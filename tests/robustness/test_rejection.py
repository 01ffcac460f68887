"""The whole experiment on scikit-learn's digits: what it measures, how it resumes, what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from small_rejection import LGM, findings_of, settings, unsealed

from data_prep.errors import InputError
from data_prep.lock import locked
from faceverif.experiment.images import ImageTask
from robustness.rejection import run as rejection
from robustness.rejection.bootstrap import Estimate
from robustness.rejection.config import RejectionConfig
from robustness.rejection.findings import Spread, rows_of
from robustness.rejection.run import run_rejection


def test_everything_that_was_planned_is_in_the_result(done: Path) -> None:
    result = json.loads((done / "result.json").read_text())
    # FGSM 0, 0.1, 0.3; targeted; PGD 0.1, 0.3, 1; adaptive 0.1, 0.3; noise at 0.1, 0.3, 1, and like FGSM at
    # 0.1 and 0.3; and transfer to l-gm alone.
    assert result["finished"] == result["planned"] == 14 + 15
    assert {row["detector"] for row in result["rows"]} == {"affinity", "lgm_class"}
    assert {row["error"]["trainings"] for row in result["rows"]} == {1}
    others = {(row["model"], row["detector"]) for row in result["other_detectors"]}
    assert others == {("softmax", "energy"), ("l-gm", "energy"), ("l-gm", "lgm_mixture")}
    assert result["provenance"]["versions"]["torch"] == torch.__version__.partition("+")[0]


def test_a_row_says_what_the_scores_say(done: Path) -> None:
    table = pq.read_table(done / "trials/l-gm/training-0/fgsm-linf-0.3.parquet")
    row = next(
        row
        for row in rows_of(findings_of(settings(), done))
        if (row.model, row.label, row.epsilon) == ("l-gm", "fgsm", 0.3)
    )
    predicted, label = table["predicted"].to_numpy(), table["label"].to_numpy()
    assert row.images == len(label) == 60
    assert row.error.mean == pytest.approx((predicted != label).mean())
    right = table["clean_predicted"].to_numpy() == label
    assert row.success.mean == pytest.approx((right & (predicted != label)).sum() / right.sum())
    clean, attacked = table["clean.lgm_class"].to_numpy(), table["attacked.lgm_class"].to_numpy()
    wins = (attacked[:, None] > clean).mean() + 0.5 * (attacked[:, None] == clean).mean()
    assert row.auc.mean == pytest.approx(wins)
    assert np.abs(table["size"].to_numpy()).max() <= 0.3 + 1e-6


def test_a_row_has_the_size_that_was_measured(done: Path) -> None:
    """Epsilon is only the most that it may be."""
    rows = rows_of(findings_of(settings(), done))
    noise = next(row for row in rows if (row.model, row.label, row.epsilon) == ("l-gm", "noise", 1.0))
    stored = pq.read_table(done / "trials/l-gm/training-0/noise-linf-1.parquet")["size"].to_numpy()
    assert noise.size.mean == pytest.approx(stored.mean())
    page = (done / "report.html").read_text()
    controls = page[page.index("Controls: changes of the same size") :]
    assert f'<td class="n">1</td><td class="n">{noise.size.mean:.2g}</td>' in controls


def test_a_control_like_an_attack_has_the_l2_norms_of_its_changes(done: Path) -> None:
    found = {each.trial.path: each for each in findings_of(settings(), done)}
    noise = found["trials/l-gm/training-0/noise-like-fgsm-l2-0.1"]
    fgsm = found["trials/l-gm/training-0/fgsm-linf-0.1"]
    wanted = fgsm.scores().l2
    assert wanted is not None
    assert np.median(wanted) > 0.5  # many pixels change
    assert noise.scores().sizes == pytest.approx(wanted[:20], rel=1e-3, abs=1e-4)
    assert noise.record.about["trial"]["like"]["label"] == "fgsm"
    # With the same epsilon alone the noise is smaller.
    plain = found["trials/l-gm/training-0/noise-linf-0.1"].scores().l2
    assert plain is not None
    assert np.median(plain) < 0.8 * np.median(wanted)
    assert np.std(wanted) > 0  # each image has its own


def test_undetected_successes_are_counted_at_the_threshold(done: Path) -> None:
    found = findings_of(settings(), done)
    finding = next(each for each in found if each.trial.label == "adaptive" and each.trial.epsilon == 0.3)
    scores, detection = finding.scores(), finding.own.detections[1]
    assert detection.point.false_rejection_rate == 0.2
    below = scores.attacked[next(iter(finding.detectors))] <= detection.point.threshold
    undetected = (below & scores.verdicts.success).sum() / scores.verdicts.clean_correct.sum()
    assert detection.undetected_success.value == pytest.approx(undetected)


def test_at_epsilon_zero_nothing_can_be_detected(done: Path) -> None:
    at_zero = [finding for finding in findings_of(settings(), done) if finding.trial.epsilon == 0]
    assert len(at_zero) == 2
    assert {outcome.auc.value for each in at_zero for outcome in each.detectors.values()} == {0.5}


def test_no_evaluated_image_sets_a_threshold_and_images_are_drawn_at_random(done: Path) -> None:
    finding = findings_of(settings(), done)[0]
    labels = pq.read_table(finding.stem.with_name(f"{finding.stem.name}.parquet"))["label"].to_numpy()
    assert len(labels) == 60
    assert np.bincount(labels, minlength=10).std() > 0  # classes in turns would hold them evenly
    assert {each.point.calibration_size for each in finding.own.detections} == {120}


def test_what_has_finished_is_not_run_again(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[str] = []

    def killed(stem: Path, *rest: Any, **more: Any) -> None:
        run.append(str(stem.relative_to(done)))
        raise KeyboardInterrupt

    monkeypatch.setattr(rejection, "keep_trial", killed)
    monkeypatch.setattr(rejection, "write_rejection_report", lambda *_: done)
    run_rejection(settings(), done, train=ImageTask().finish)
    assert not run
    missing = done / "trials/l-gm/training-0/noise-linf-0.1.json"
    kept = missing.read_text()
    missing.unlink()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_rejection(settings(), done, train=ImageTask().finish)
    finally:
        missing.write_text(kept)
    assert run == ["trials/l-gm/training-0/noise-linf-0.1"]


def test_trials_of_other_settings_are_refused(done: Path) -> None:
    with pytest.raises(InputError, match=r"trials/softmax/training-0/fgsm-linf-0: .*got fit 200 -> 100"):
        run_rejection(settings(fit=100), done, train=ImageTask().finish)


def test_out_must_be_a_folder_that_nobody_else_fills(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file/out"):
        with pytest.raises(InputError, match="--out: must be a folder; got the file"):
            run_rejection(settings(), out, train=ImageTask().finish)
    with (
        locked(tmp_path, command="faceverif reject"),
        pytest.raises(InputError, match="another `faceverif reject`"),
    ):
        run_rejection(settings(), tmp_path, train=ImageTask().finish)


def test_trials_on_other_data_are_not_continued(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejection, "write_rejection_report", lambda *_: done)  # drawing takes its time
    out = tmp_path / "out"
    shutil.copytree(done, out)
    (out / "trials/l-gm/training-0/noise-linf-0.1.json").unlink()
    finished = out / "trials/l-gm/training-0/fgsm-linf-0.json"
    record = unsealed(finished)
    now = record["facts"]["data_sha256"]
    for facts in ({"data_sha256": "other"}, {"data_sha256": now, "calibration_sha256": "other"}):
        finished.write_text(json.dumps(record | {"facts": facts}))
        with pytest.raises(
            InputError, match=r"l-gm/training-0/fgsm-linf-0: .*data.* got \w+_sha256 other ->"
        ):
            run_rejection(settings(), out, train=ImageTask().finish)
    # Older versions kept this fact alone, or none.
    for older in (
        record | {"facts": {"data_sha256": now}},
        {name: record[name] for name in record if name != "facts"},
    ):
        finished.write_text(json.dumps(older))
        run_rejection(settings(), out, train=ImageTask().finish)
    assert len(findings_of(settings(), out)) == len(findings_of(settings(), done))


def test_a_detector_that_does_not_fit_its_model_and_data_that_do_not_suffice(
    done: Path, tmp_path: Path
) -> None:
    def taken(name: str, detector: str, **changes: Any) -> RejectionConfig:
        model = {"name": "a", "runs": [str(done / f"models/{name}/seed0")], "detector": detector}
        attacks = [{"name": "fgsm", "epsilons": [0.1]}]
        return settings(models=[model], attacks=attacks, published=[], **changes)

    with pytest.raises(
        InputError, match=r"models\.0\.detector: LGMClassLikelihood needs a head .* got lgm_class for a: "
    ):
        run_rejection(taken("softmax", "lgm_class", detectors=[]), tmp_path, train=ImageTask().finish)
    with pytest.raises(InputError, match=r"detectors: must each fit .*; got lgm_mixture, which fits none"):
        run_rejection(taken("softmax", "energy"), tmp_path / "out", train=ImageTask().finish)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"calibration: must be less than the 359 images .* got 400"):
        run_rejection(taken("l-gm", "lgm_class", calibration=400), tmp_path, train=ImageTask().finish)
    with pytest.raises(InputError, match=r"models\.runs: must be folders of finished runs"):
        run_rejection(taken("nobody", "lgm_class"), tmp_path, train=ImageTask().finish)


def test_all_that_speaks_against_the_models_is_said_at_once_and_before_any_training(tmp_path: Path) -> None:
    def train(*_: Any) -> None:
        raise AssertionError("a training began")

    models = [
        {"name": "plain", "settings": {}, "detector": "lgm_class"},
        {"name": "l-gm", "settings": LGM, "detector": "center"},
        {"name": "twice", "settings": {}, "seeds": [0, 1], "detector": "energy"},
    ]
    attacks = [{"name": "fgsm", "epsilons": [0.1]}]
    pairs = {"data": "there", "protocol": "a.csv", "calibration_protocol": "b.csv", "attacks": attacks}
    wrong = settings(
        models=models, attacks=attacks, pairs=pairs, published=[], calibration=5000, detectors=["center"]
    )
    with pytest.raises(InputError) as found:
        run_rejection(wrong, tmp_path / "out", train=train)
    assert found.value.field == "models.0.detector, calibration, pairs, models.1.detector, detectors"
    said = str(found.value)
    assert said.count("calibration: must be less than the 359 images") == 1
    for got in (
        "5,000 for plain, 5,000 for l-gm, 5,000 for twice",
        "got lgm_class for plain: SoftmaxHead",
        "got center for l-gm: no such penalty",
        "got plain, an image classifier, l-gm, an image classifier, twice, an image classifier",
        "center, which fits none",
        "Lower calibration.",
    ):
        assert said.count(got) == 1
    assert not (tmp_path / "out").exists()


def test_a_spread_over_trainings_and_of_a_single_one() -> None:
    over = Spread.of([Estimate(0.1, 0, 1), Estimate(0.3, 0, 1)])
    assert over == Spread(0.2, pytest.approx(0.1 * 2**0.5), None, None, 2)
    assert Spread.of([Estimate(0.1, 0.05, 0.2), None]) == Spread(0.1, None, 0.05, 0.2, 1)
    assert Spread.of([None]) is None


def test_scores_survive_the_file(done: Path) -> None:
    shown = next(each for each in findings_of(settings(), done) if each.trial.path.endswith("noise-linf-0.3"))
    scores = shown.scores()
    assert scores.verdicts.zero_gradient is None
    assert set(scores.clean) == set(scores.attacked) == {"affinity", "energy"}
    assert len(scores.sizes) == 20
