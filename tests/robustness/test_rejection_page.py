"""The page of a rejection experiment, and its figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pages import check_page, plain
from small_rejection import findings_of, settings

from faceverif.report.plotting import line_styles
from robustness.rejection.bootstrap import Estimate
from robustness.rejection.figures import POSTERIOR, escapes_panels, posterior_panels, sweep_panels
from robustness.rejection.findings import headline_epsilon, rows_of
from robustness.rejection.report import write_rejection_report
from robustness.rejection.strips import strip_panels
from robustness.rejection.worst import worst_cases


def test_the_curve_of_all_attacks_holds_the_adaptive_one_at_every_size(done: Path) -> None:
    rows = [row for row in rows_of(findings_of(settings(), done)) if 0 < row.epsilon < 1 and not row.control]
    mine = [row for row in rows if row.model == "l-gm"]
    [panel] = escapes_panels(mine, rate=0.2, models=["softmax", "l-gm"])
    lines = {str(line.get_label()): line for line in panel.figure.axes[0].lines}
    styles = line_styles(["softmax", "l-gm"])
    assert not {line.get_color() for line in lines.values()} & {style["color"] for style in styles.values()}
    assert set(lines) == {"fgsm", "targeted_fgsm", "pgd", "transfer", "adaptive"}
    assert np.asarray(lines["adaptive"].get_xdata()).tolist() == [0.1, 0.3]
    shown = {(row.label, row.epsilon): row.undetected[0.2].mean for row in rows if row.model == "l-gm"}
    expected = [shown["adaptive", 0.1], shown["adaptive", 0.3]]
    assert np.asarray(lines["adaptive"].get_ydata()).tolist() == pytest.approx(expected)
    assert "Every attack over epsilon" in (done / "report.html").read_text()


def test_the_page_shows_every_attack_and_the_paper(done: Path) -> None:
    check_page(done / "report.html")
    page = (done / "report.html").read_text()
    for text in (">fgsm</h2>", ">adaptive</h2>", "Beside the paper", "81.00", "3.1", "noise", "lgm_mixture"):
        assert text in page
    assert "fitted on at most 200 clean training images" in page
    assert page.count("<svg ") == len(list((done / "figures").iterdir()))


def test_the_page_opens_with_the_worst_attack_of_each_model(done: Path) -> None:
    """Not with the first attack; sizes that take the whole box do not count."""
    findings = [each for each in findings_of(settings(), done) if each.trial.attack is not None]
    worst = worst_cases(findings, rate=0.2)
    page = plain((done / "report.html").read_text())
    opening = page[: page.index("Beside the paper")]
    assert list(worst) == ["softmax", "l-gm"]
    for model, case in worst.items():
        limited = [each for each in findings if each.trial.model == model and 0 < each.trial.epsilon < 1]
        assert case.wrong == max(each.undetected_error(0.2).value for each in limited)
        assert case.compared == len(limited)
        assert f"{model} wrong and not rejected, under {case.label} linf {case.epsilon:g} (95 %: " in opening
        assert f"; {case.images} images, the worst of {case.compared} attacks" in opening
        assert f"clean error {100 * case.clean_error:.1f} %" in opening
        assert f"<b>{100 * case.wrong:.1f} <small>%</small></b>" in opening


def test_a_trial_without_an_attackable_image_leaves_the_page_whole(done: Path, tmp_path: Path) -> None:
    first, other = (
        next(each for each in findings_of(settings(), done) if each.trial.path.endswith(f"{name}-linf-0.1"))
        for name in ("softmax/training-0/fgsm", "softmax/training-0/pgd")
    )
    for outcome in other.detectors.values():
        outcome.clean_accuracy, outcome.success, outcome.zero_gradient_share = Estimate(0, 0, 0), None, None
        outcome.detections = tuple(
            replace(each, detection_of_successes=None, undetected_success=None) for each in outcome.detections
        )
    result = json.loads((done / "result.json").read_text())
    page = write_rejection_report(settings(), [first, other], result, tmp_path).read_text()
    assert ">fgsm</h2>" in page
    assert ">pgd</h2>" not in page
    page = write_rejection_report(settings(), [other], result, tmp_path).read_text()
    assert "softmax decides wrongly on all of 30 images without any attack" in page


def test_every_model_has_its_headline_on_the_page_and_in_the_result(done: Path) -> None:
    stored = json.loads((done / "result.json").read_text())["headlines"]
    assert [(each["model"], each["goal"]) for each in stored] == [("softmax", None), ("l-gm", None)]
    page = plain((done / "report.html").read_text())
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
        (row.label, row.model): row.undetected[0.2].mean
        for row in rows_of(findings_of(settings(), done))
        if row.epsilon == 0.3 and not row.control
    }
    models = {label: [mean for (other, _), mean in shown.items() if other == label] for label, _ in shown}
    means = {label: np.mean(means) for label, means in models.items()}
    places = {label: table.index(f">{label} linf 0.3</th>") for label in means}
    ordered = [means[label] for label in sorted(places, key=lambda label: places[label])]
    assert ordered == sorted(ordered, reverse=True)
    assert len(ordered) == 5


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
    [line] = sweep_panels(rows, styles, rate=0.2)[0].figure.axes[0].lines
    assert (line.get_label(), line.get_color()) == ("l-gm", styles["l-gm"]["color"])


def test_small_sizes_keep_their_distance_beside_the_whole_box(done: Path) -> None:
    rows = [row for row in rows_of(findings_of(settings(), done)) if row.label == "pgd"]
    axes = sweep_panels(rows, line_styles(["softmax", "l-gm"]), rate=0.2)[0].figure.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.1", "0.3", "1"]
    assert np.unique(np.diff(axes.get_xticks())).tolist() == [1]


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
