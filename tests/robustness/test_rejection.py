"""The whole experiment on scikit-learn's digits: it resumes, refuses what does not fit, and adds up."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pages import check_page
from small_rejection import settings

from data_prep.errors import InputError
from data_prep.lock import locked
from faceverif.experiment.images import ImageTask
from faceverif.report.plotting import line_styles
from robustness.rejection import run as rejection
from robustness.rejection.config import RejectionConfig
from robustness.rejection.figures import (
    POSTERIOR,
    escapes_panels,
    posterior_panels,
    sweep_panels,
)
from robustness.rejection.findings import (
    Finding,
    Spread,
    headline_epsilon,
    l2_norms,
    read_findings,
    rows_of,
    worst_cases,
)
from robustness.rejection.plan import plan_trials
from robustness.rejection.run import run_rejection
from robustness.rejection.strips import strip_panels
from robustness.rejection.trial_files import file_at


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished experiment. Nobody writes to it."""
    out = tmp_path_factory.mktemp("rejection")
    run_rejection(settings(), out, train=ImageTask().finish)
    return out


def findings_of(config: RejectionConfig, out: Path) -> list[Finding]:
    models = [model.name for model in config.models]
    return read_findings([trial for model in models for trial in plan_trials(config, model, 0)], out)


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
    assert noise.record["about"]["trial"]["like"]["label"] == "fgsm"
    # With the same epsilon alone the noise is smaller.
    plain = found["trials/l-gm/training-0/noise-linf-0.1"].scores().l2
    assert plain is not None
    assert np.median(plain) < 0.8 * np.median(wanted)
    assert np.std(wanted) > 0  # each image has its own


def test_a_control_like_an_attack_of_an_earlier_version_asks_for_it_again(done: Path, tmp_path: Path) -> None:
    trial = next(each.trial for each in findings_of(settings(), done) if each.trial.label == "fgsm")
    shutil.copytree(done / "trials", tmp_path / "trials")
    path, record = file_at(tmp_path / trial.path, "parquet"), file_at(tmp_path / trial.path, "json")
    pq.write_table(pq.read_table(path).drop_columns(["l2"]), path)
    record.write_text(json.dumps(unsealed(record)))
    with pytest.raises(InputError, match=rf"l2 norms of its changes.*earlier version\. Remove {record}: "):
        l2_norms(trial, tmp_path)


def test_the_curve_of_all_attacks_holds_the_adaptive_one_at_every_size(done: Path) -> None:
    rows = [row for row in rows_of(findings_of(settings(), done)) if 0 < row.epsilon < 1 and not row.control]
    mine = [row for row in rows if row.model == "l-gm"]
    [panel] = escapes_panels(mine, rate="0.2", models=["softmax", "l-gm"])
    lines = {str(line.get_label()): line for line in panel.figure.axes[0].lines}
    styles = line_styles(["softmax", "l-gm"])
    assert not {line.get_color() for line in lines.values()} & {style["color"] for style in styles.values()}
    assert set(lines) == {"fgsm", "targeted_fgsm", "pgd", "transfer", "adaptive"}
    assert np.asarray(lines["adaptive"].get_xdata()).tolist() == [0.1, 0.3]
    shown = {(row.label, row.epsilon): row.undetected["0.2"].mean for row in rows if row.model == "l-gm"}
    expected = [shown["adaptive", 0.1], shown["adaptive", 0.3]]
    assert np.asarray(lines["adaptive"].get_ydata()).tolist() == pytest.approx(expected)
    assert "Every attack over epsilon" in (done / "report.html").read_text()


def test_undetected_successes_are_counted_at_the_threshold(done: Path) -> None:
    found = findings_of(settings(), done)
    finding = next(each for each in found if each.trial.label == "adaptive" and each.trial.epsilon == 0.3)
    scores, detection = finding.scores(), finding.own["detections"][1]
    assert detection["point"]["false_rejection_rate"] == 0.2
    below = scores.attacked[next(iter(finding.detectors))] <= detection["point"]["threshold"]
    undetected = (below & scores.verdicts.success).sum() / scores.verdicts.clean_correct.sum()
    assert detection["undetected_success"]["value"] == pytest.approx(undetected)


def test_at_epsilon_zero_nothing_can_be_told(done: Path) -> None:
    at_zero = [finding for finding in findings_of(settings(), done) if finding.trial.epsilon == 0]
    assert len(at_zero) == 2
    assert {outcome["auc"]["value"] for each in at_zero for outcome in each.detectors.values()} == {0.5}


def test_no_evaluated_image_sets_a_threshold_and_images_are_drawn_at_random(done: Path) -> None:
    finding = findings_of(settings(), done)[0]
    labels = pq.read_table(finding.stem.with_name(f"{finding.stem.name}.parquet"))["label"].to_numpy()
    assert len(labels) == 60
    assert np.bincount(labels, minlength=10).std() > 0  # classes in turns would hold them evenly
    assert {each["point"]["calibration_size"] for each in finding.own["detections"]} == {120}


def test_the_page_shows_every_attack_and_the_paper(done: Path) -> None:
    check_page(done / "report.html")
    page = (done / "report.html").read_text()
    for text in (
        ">fgsm</h2>",
        ">adaptive</h2>",
        "Beside the paper",
        "81.00",
        "3.1",
        "noise",
        "lgm_mixture",
    ):
        assert text in page
    assert "fitted on at most 200 clean training images" in page
    assert page.count("<svg ") == len(list((done / "figures").iterdir()))


def test_the_page_opens_with_the_worst_attack_of_each_model(done: Path) -> None:
    """Not with the first attack; sizes that take the whole box do not count."""
    findings = [each for each in findings_of(settings(), done) if each.trial.attack is not None]
    worst = worst_cases(findings, rate=0.2)
    page = (done / "report.html").read_text()
    opening = page[: page.index("Beside the paper")]
    assert list(worst) == ["softmax", "l-gm"]
    for model, case in worst.items():
        limited = [each for each in findings if each.trial.model == model and 0 < each.trial.epsilon < 1]
        assert case.wrong == max(each.undetected_error(0.2) for each in limited)
        assert f"{model} wrong and not rejected, under {case.label} {case.epsilon:g}" in opening
        assert f"clean error {100 * case.clean_error:.1f} %" in opening
        assert f"<b>{100 * case.wrong:.1f} <small>%</small></b>" in opening


def test_every_model_has_its_headline_on_the_page_and_in_the_result(done: Path) -> None:
    stored = json.loads((done / "result.json").read_text())["headlines"]
    assert [(each["model"], each["goal"]) for each in stored] == [("softmax", None), ("l-gm", None)]
    page = (done / "report.html").read_text()
    opening = page[: page.index("The worst case of each model")]
    assert all(each["text"] in opening for each in stored)
    summary = json.loads((done / "summary.json").read_text())["numbers"]["closed set"]
    assert {model: its["headline"] for model, its in summary.items()} == {
        each["model"]: each["text"] for each in stored
    }


def test_the_strongest_attack_stands_first_by_model(done: Path) -> None:
    page = (done / "report.html").read_text()
    table = page[page.index("By model") : page.index(">fgsm</h2>")].replace("<wbr>", "")
    shown = {
        (row.label, row.model): row.undetected["0.2"].mean
        for row in rows_of(findings_of(settings(), done))
        if row.epsilon == 0.3 and not row.control
    }
    models = {label: [mean for (other, _), mean in shown.items() if other == label] for label, _ in shown}
    means = {label: np.mean(means) for label, means in models.items()}
    places = {label: table.index(f">{label} 0.3</th>") for label in means}
    ordered = [means[label] for label in sorted(places, key=lambda label: places[label])]
    assert ordered == sorted(ordered, reverse=True)
    assert len(ordered) == 5


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

    with pytest.raises(InputError, match="LGMClassLikelihood needs a head that models a likelihood"):
        run_rejection(taken("softmax", "lgm_class", detectors=[]), tmp_path, train=ImageTask().finish)
    with pytest.raises(InputError, match=r"detectors: must each fit .*; got lgm_mixture, which fits none"):
        run_rejection(taken("softmax", "energy"), tmp_path / "out", train=ImageTask().finish)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"calibration: must be less than the 359 images .* got 400"):
        run_rejection(taken("l-gm", "lgm_class", calibration=400), tmp_path, train=ImageTask().finish)
    with pytest.raises(InputError, match=r"models\.runs: must be folders of finished runs"):
        run_rejection(taken("nobody", "lgm_class"), tmp_path, train=ImageTask().finish)


def test_a_spread_over_trainings_and_of_a_single_one() -> None:
    over = Spread.of([{"value": 0.1, "low": 0, "high": 1}, {"value": 0.3, "low": 0, "high": 1}])
    assert over == Spread(0.2, pytest.approx(0.1 * 2**0.5), None, None, 2)
    assert Spread.of([{"value": 0.1, "low": 0.05, "high": 0.2}, None]) == Spread(0.1, None, 0.05, 0.2, 1)
    assert Spread.of([None]) is None


def test_the_pictures_are_of_the_largest_size_below_the_whole_box(done: Path) -> None:
    config = settings()
    assert headline_epsilon("pgd", findings_of(config, done)) == 0.3


def test_a_strip_says_what_the_model_took_each_image_for(done: Path) -> None:
    shown = next(each for each in findings_of(settings(), done) if each.trial.path.endswith("pgd-linf-0.3"))
    table = pq.read_table(shown.stem.with_name(f"{shown.stem.name}.parquet")).to_pydict()
    panels = strip_panels(shown)
    texts = [text.get_text() for panel in panels for text in panel.figure.axes[0].texts]
    assert [panel.name for panel in panels] == ["1", "2"]
    assert f"score {texts[texts.index('clean') + 2]}" in panels[0].alt
    for column in ("clean_predicted", "predicted"):
        expected = [f"{true} → {said}" for true, said in zip(table["label"], table[column], strict=True)]
        assert set(expected[:8]) <= set(texts)


def test_a_model_keeps_its_colour_where_others_are_missing(done: Path) -> None:
    """Transfer attacks every model but its source; eleven models have eleven looks."""
    styles = line_styles(["softmax", "l-gm", *"abcdefghi"])
    assert len({tuple(style.items()) for style in styles.values()}) == 11
    rows = [row for row in rows_of(findings_of(settings(), done)) if row.label == "transfer"]
    [line] = sweep_panels(rows, styles, rate="0.2")[0].figure.axes[0].lines
    assert (line.get_label(), line.get_color()) == ("l-gm", styles["l-gm"]["color"])


def test_small_sizes_keep_their_distance_beside_the_whole_box(done: Path) -> None:
    rows = [row for row in rows_of(findings_of(settings(), done)) if row.label == "pgd"]
    axes = sweep_panels(rows, line_styles(["softmax", "l-gm"]), rate="0.2")[0].figure.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.1", "0.3", "1"]
    assert np.unique(np.diff(axes.get_xticks())).tolist() == [1]


def test_scores_survive_the_file(done: Path) -> None:
    shown = next(each for each in findings_of(settings(), done) if each.trial.path.endswith("noise-linf-0.3"))
    scores = shown.scores()
    assert scores.verdicts.zero_gradient is None
    assert set(scores.clean) == set(scores.attacked) == {"affinity", "energy"}
    assert len(scores.sizes) == 20


def test_a_trial_that_the_system_does_not_let_be_read_is_not_called_damaged(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_text(path: Path, **_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    trial = findings_of(settings(), done)[0].trial
    monkeypatch.setattr(Path, "read_text", read_text)
    with pytest.raises(PermissionError):
        read_whole(trial, done)


def test_damaged_trial_files_are_one_line_that_says_what_to_remove(done: Path, tmp_path: Path) -> None:
    shutil.copytree(done / "trials", tmp_path / "trials")
    trial = findings_of(settings(), done)[4].trial
    stem, generator = tmp_path / trial.path, np.random.default_rng(0)
    said = rf"^OUT: must hold the files of finished trials .*\. Remove {stem}\.json: the same command"
    for suffix in ("json", "parquet", "npz"):
        path = file_at(stem, suffix)
        whole = path.read_bytes()
        places = generator.choice(len(whole), 12, replace=False)
        damaged = [whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :] for place in places]
        for content in (b"", whole[: len(whole) // 2], b"[]", b"\xff" * 40, *damaged):
            path.write_bytes(content)
            with pytest.raises(InputError, match=said):
                read_whole(trial, tmp_path)
        path.write_bytes(whole)
    read_whole(trial, tmp_path)


def unsealed(path: Path) -> dict[str, Any]:
    """A record as earlier versions wrote it."""
    record = json.loads(path.read_text())
    return {name: record[name] for name in record if name not in ("sha256", "files")}


def read_whole(trial: Any, out: Path) -> None:
    finding = Finding.read(trial, out)
    assert finding is not None
    finding.scores()
    finding.pictures()


def test_records_of_earlier_versions_are_read_and_what_they_lack_is_said(done: Path, tmp_path: Path) -> None:
    """They have no hashes, and nothing was asked twice."""
    shutil.copytree(done / "trials", tmp_path / "trials")
    trial = findings_of(settings(), done)[4].trial
    path = file_at(tmp_path / trial.path, "json")
    older = unsealed(path)
    path.write_text(json.dumps(older, indent=1))
    read_whole(trial, tmp_path)
    for name in older.keys() - {"facts", "unsteady"}:
        path.write_text(json.dumps({key: older[key] for key in older if key != name}))
        with pytest.raises(InputError, match="must hold the files of finished trials"):
            read_whole(trial, tmp_path)
    path.write_text(json.dumps(older | {"detectors": {"energy": {"eer": "low"}}}))
    with pytest.raises(InputError, match="must hold the files of finished trials"):
        read_whole(trial, tmp_path)
    (file_at(tmp_path / trial.path, "parquet")).unlink()
    path.write_text(json.dumps(older))
    with pytest.raises(InputError, match=r"parquet \("):
        read_whole(trial, tmp_path)


def test_the_posterior_of_clean_and_attacked_images_is_drawn_per_model(done: Path) -> None:
    [finding] = [
        each
        for each in findings_of(settings(), done)
        if (each.trial.model, each.trial.label, each.trial.epsilon) == ("softmax", "fgsm", 0.3)
    ]
    scores = finding.scores()
    count = len(scores.sizes)
    clean, attacked = np.full(count, -0.99), np.full(count, -0.42)
    shown = replace(scores, clean={POSTERIOR: clean}, attacked={POSTERIOR: attacked})
    [panel] = posterior_panels({"softmax": shown}, line_styles(["softmax"]))
    [axes] = panel.figure.axes
    filled = [patch.get_data() for patch in axes.patches[::2]]
    for data, place in zip(filled, (0.99, 0.42), strict=True):
        assert data.values.sum() == pytest.approx(1)
        full = int(data.values.argmax())
        assert data.edges[full] <= place <= data.edges[full + 1]
    assert axes.get_xlabel() == "p_max"
    assert "attacked images have a median of 0.42" in panel.alt
