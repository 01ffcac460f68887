"""Every kind of page: one file that says what it shows, and fits a phone."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ijb_release
import pytest
from pages import check_page, too_wide
from PIL import Image
from small_faces import face, pattern_embedder, write_faces, write_pairs

from data_prep.check import CheckReport
from data_prep.ijb import IjbFiles
from data_prep.prepare.align_folder import align_folder
from data_prep.prepare.task import AlignSettings
from data_prep.protocols.identification import load_identification
from data_prep.work.here import ThisProcess
from faceverif.classification.report import write_classifier_report
from faceverif.demo import DemoSize
from faceverif.demo_comparison import DrawnPair, ShownFace
from faceverif.experiment.config import load_experiment
from faceverif.experiment.report import write_experiment_report
from faceverif.experiment.table import Cell, Table
from faceverif.identification.runner import rank
from faceverif.report.check_page import write_check_page
from faceverif.report.pages import write_page
from faceverif.report.plotting import Mark, Panel, house_style, legend_below, line_styles, new_panel
from faceverif.report.run_page import picture_uri, write_page_of_run, write_run_report
from faceverif.report.svg import save_panels
from faceverif.report.two_runs import compare_runs, write_page_of_two
from faceverif.template_matching.options import Pooling
from faceverif.template_matching.run import verify_templates
from faceverif.template_matching.search_run import rank_templates
from faceverif.template_matching.task import SearchTask, TemplateTask
from faceverif.verification.calibration import write_calibration
from faceverif.verification.options import VerificationOptions
from faceverif.verification.runner import verify
from faceverif.verification.suite import verify_suite
from robustness.certificates.report import pairs_answer, radius_panel, write_certificate_page
from robustness.certificates.table import Row, pair_shares
from robustness.rejection.worst import WorstCase

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
LONG = "a_name_without_any_space_that_is_longer_than_the_screen_of_a_phone_is_wide/and_goes_on.png"
METRICS = "step,loss,accuracy,learning_rate\n" + "".join(
    f"{n},{9 - n / 9},{n / 50},0.1\n" for n in range(1, 40)
)


def run_in(folder: Path) -> Path:
    write_faces(folder / "data", noise=110)
    (folder / "config.yaml").write_text("seed: 1\nhead: {name: cosface}\n# " + "a long line of a config " * 9)
    (folder / "provenance.json").write_text(json.dumps({"data": {"path": LONG, "sha256": "0" * 64}}))
    (folder / "metrics.csv").write_text(METRICS)
    people = [f"P{person:02d},{(LONG, 'b')[person % 2]}" for person in range(12)]
    (folder / "people.csv").write_text("\n".join(["identity,group", *people]))
    options = VerificationOptions(
        flip=False, quality=True, groups=("group",), attributes=folder / "people.csv", far=0.1
    )
    out = folder / "verification" / "dev"
    result = verify(
        pattern_embedder(), folder / "data", write_pairs(folder / "p.csv"), out=out, options=options
    )
    write_calibration(folder, result)
    write_run_report(folder)
    return folder


def classifier_in(folder: Path) -> Path:
    """Of an adversarial training; `tests/faceverif/classification` has the page of a real one."""
    folder.mkdir()
    run = {"network": {"name": "lenet5"}, "training": {"adversarial": {"epsilon": 0.1, "norm": "linf"}}}
    (folder / "config.yaml").write_text(json.dumps(run))
    (folder / "provenance.json").write_text(json.dumps({"data": {"path": LONG}}))
    columns = (
        "epoch,loss,accuracy,evaluation_error,learning_rate,clean_accuracy,fgsm_accuracy,robust_accuracy"
    )
    rows = "".join(f"{n},{3 / n},{1 - 0.4 / n},{0.5 / n},0.1,0.9,0.8,0.7\n" for n in range(1, 9))
    (folder / "metrics.csv").write_text(f"{columns}\n{rows}")
    wrong = {"class": LONG, "images": 1000, "wrong": 90, "mostly": LONG, "mostly_images": 80}
    right = {"class": "1", "images": 10, "wrong": 0}
    metrics = {"error": 0.09, "macro_f1": 0.9, "ece": 0.01, "nll": 0.3, "recall_at_1": 0.8}
    facts = {"classes": [wrong, right], "evaluated_on": "test", "hours": 0.5, "parameters": 10**7}
    (folder / "result.json").write_text(json.dumps({"metrics": metrics, "images": 1010} | facts))
    return write_classifier_report(folder)


def templates_in(folder: Path) -> list[Path]:
    release = folder / "SMALL"
    ijb_release.write_galleries(ijb_release.write_lists(release))
    ijb_release.write_pictures(release, lambda person, photo: face(person, photo, side=112, noise=600))
    align_folder(release, folder / "small-112", settings=AlignSettings(), engine=ThisProcess())
    files = IjbFiles(release / "meta", "small")
    task = TemplateTask.of(files, folder / "small-112", Pooling.NORM, VerificationOptions(flip=False))
    verify_templates(pattern_embedder(), task, out=folder / "pairs")
    searched = SearchTask.of(files, folder / "small-112", Pooling.NORM, flip=False, allow_partial=False)
    rank_templates(pattern_embedder(), searched, out=folder / "searches")
    return [folder / "pairs" / "report.html", folder / "searches" / "report.html"]


def suite_in(folder: Path, data: Path) -> Path:
    (folder / "lists").mkdir()
    write_pairs(folder / "lists" / "data.csv")
    options = VerificationOptions(flip=False)
    verify_suite(pattern_embedder(), folder / "lists", [data], out=folder / "suite", options=options)
    return folder / "suite" / "report.html"


def identification_in(folder: Path, data: Path) -> Path:
    photos = [f"P{person:02d}/P{person:02d}_{number:04d}" for person in range(12) for number in range(1, 5)]
    enrolled = [photo for photo in photos if photo < "P06" and photo.endswith("1")]
    folder.mkdir()
    for name, listed in (("gallery", enrolled), ("probes", sorted(set(photos) - set(enrolled)))):
        lines = [f"{photo},{photo[:3]}" for photo in listed]
        (folder / f"{name}.csv").write_text("\n".join(["photo,identity", *lines]))
    rank(pattern_embedder(), data, load_identification(folder), out=folder / "out", flip=False)
    return folder / "out" / "report.html"


def experiment_in(folder: Path) -> Path:
    experiment = load_experiment(CONFIGS / "mnist" / "lgm_table1_2d.yaml")
    cells = [
        Cell(
            method.name,
            None,
            [0, 1],
            2,
            [0.01, 0.02],
            0.015,
            0.007,
            method.published,
            None,
            [],
            {"nmi": 0.9},
            1.5,
        )
        for method in experiment.methods
    ]
    return write_experiment_report(Table(experiment, cells), [], folder / "experiment")


def audit_in(folder: Path, picture: str) -> Path:
    found = {"score": 0.912, "name": LONG, "evidence": f"beside {LONG}", "photos": [LONG, "b.png"]}
    section = {
        "reason": "copy",
        "title": "Copies of evaluation photos",
        "rule": "the same pixels",
        "found": 1,
        "compared": 3510,
        "excludes": True,
        "expected_false_alarms": 0.35,
        "estimated_precision": 0.65,
        "worst": [found],
    }
    people = {
        "path": LONG,
        "photos": 90,
        "identities": 9,
        "template": "arcface-112",
        "manifest_sha256": "0" * 64,
    }
    match = {
        "threshold": 0.5,
        "false_match_rate": 1e-4,
        "true_match_rate": 0.9,
        "genuine_pairs": 90,
        "impostor_pairs": 900,
        "tail_pairs": 30,
        "tail_begins": 0.3,
        "tail_scale": 0.05,
        "reached": 0,
    }
    facts: dict[str, Any] = {
        "train": people,
        "against": people,
        "warnings": ["the model is too weak"],
        "match": match,
        "sections": [section] * 2,
        "stranger": {"threshold": 0.1, "false_alarms": 1, "photos": 90},
        "settings": {"flip": True},
        "versions": {"torch": "2"},
        "model": "a model",
        "model_sha256": "0" * 64,
        "preprocessing": "rgb",
        "expected_rule": "the rate times the pairs",
        "exclusions": {"photos": 1, "identities": 0, "sha256": "0" * 64},
    }
    pictures = {"copy": [(found, picture)]}
    page = folder / "audit" / "report.html"
    return write_page(
        page, "audit.html.j2", kind="Audit", title=LONG, numbers={}, facts=facts, pictures=pictures
    )


def drawing_in(folder: Path, names: list[str]) -> Any:
    with house_style():
        figure, axes = new_panel()
        for name, style in line_styles(names).items():
            axes.plot([0, 1], [0, 1], label=name, **style)
        legend_below(figure)
    numbers = {
        "threshold": "0.1234",
        "clean rejected": "12.3 % (10.1 to 14.5 %)",
        "attacked rejected": "99 %",
    }
    marks = [Mark(0.5, 0.5, numbers, name) for name in names]
    return save_panels([Panel("drawn", figure, "From 0 to 1.", marks)] * 3, folder / "figures")


def rejection_in(folder: Path) -> Path:
    models = ["softmax", "a-model-with-quite-a-long-name"]
    share = SimpleNamespace(mean=0.123, sd=None, low=0.1, high=0.2)
    rates = [0.01, 0.05]
    rows = [
        SimpleNamespace(
            model=model,
            detector="lgm_class",
            label="adaptive_pgd",
            norm="linf",
            epsilon=0.3,
            size=share,
            images=1000,
            attackable=990,
            clean_accuracy=share,
            error=share,
            success=share,
            auc=share,
            eer=share,
            zero_gradient=share,
            detection=dict.fromkeys(rates, share),
            undetected=dict.fromkeys(rates, share),
        )
        for model in models
    ]
    shown = SimpleNamespace(caption="How to read it.", drawings=drawing_in(folder, models))
    section = SimpleNamespace(
        label="adaptive_pgd",
        about="Knows the detector.",
        norm="linf",
        epsilon=0.3,
        heading="adaptive_pgd linf 0.3",
        rows=rows,
        pictures=[shown],
        strips=[shown],
    )
    worst = WorstCase("adaptive_pgd", "linf", 0.3, 1000, 0.9, 0.88, 0.92, 0.1, compared=9)
    part = SimpleNamespace(
        goal=None,
        sections=[section] * 2,
        strongest_first=lambda rate: [section] * 8,
        escapes=shown,
        headlines={models[0]: "To fool softmax on half of the images, a change of 0.1 is enough."},
        worst_cases=dict.fromkeys(models, worst),
        controls=rows,
        others=rows,
        worst_rows=dict(zip(models, rows, strict=True)),
        summary={row.model: {row.label: row} for row in rows},
    )
    check = SimpleNamespace(
        verdict="pass", trainings=2, goal=None, whose="softmax, training 0", text="0 of 9"
    )
    return write_page(
        folder / "rejection" / "report.html",
        "rejection.html.j2",
        kind="Rejection",
        title="Rejecting",
        numbers={},
        config=SimpleNamespace(source="a paper", pairs=None, fit=200, calibration=100, attacks=[1]),
        parts=[part],
        rates=rates,
        result={
            "finished": 2,
            "planned": 2,
            "rules": dict.fromkeys(("threshold", "interval", "control"), "a rule"),
        },
        published=[(SimpleNamespace(error=0.1, eer=0.1), rows[0])],
        checks={"gradients": [check, check]},
        provenance={"data": LONG},
        settings="a: 1",
        colours=dict.fromkeys(models, "#0072b2"),
    )


def certificates_in(folder: Path) -> Path:
    """Of pairs, which have two curves; tests/robustness has the pages of real certificates."""
    rows = [Row(item, item % 2, item % 2, item / 10) for item in range(9)]
    lines = [{"l2_radius": radius} | pair_shares(rows, radius) for radius in (0.0, 0.25)]
    counts = {"certified_true_accepts": 4, "false_accepts_at_most": 5}
    return write_certificate_page(
        folder / "certificates",
        size="l2_radius",
        lines=lines,
        counts=counts,
        panel=radius_panel(partial(pair_shares, rows), largest=0.8),
        answer=pairs_answer(lines[1], counts=counts),
        rules={"noise": "a rule"},
        provenance={"model": LONG},
    )


def check_in(folder: Path) -> Path:
    report = CheckReport(Path(LONG), "a folder of photos per identity", ["3 photos of 2 identities"])
    report.count("photo", "that cannot be decoded (truncated)", [LONG, *"abcdefgh"])
    return write_check_page(report, folder / "check")


def demo_in(folder: Path, run: Path, picture: str) -> Path:
    share = {"mean": 0.5, "low": 0.4, "high": 0.6}
    row = {
        "label": "fgsm",
        "detector": "lgm_class",
        "epsilon": 0.03,
        "images": 100,
        "success": share,
        "eer": share,
        "detection": {"0.05": share},
        "undetected": {"0.05": share},
    }
    drawn = drawing_in(folder, ["l-gm"])
    return write_page_of_run(
        run,
        folder / "demo" / "report.html",
        "demo.html.j2",
        kind="Demo",
        title="From photos",
        size=DemoSize(),
        photos=[picture] * 16,
        crops=[picture] * 16,
        pair=DrawnPair(picture, (ShownFace("PGD, 4 grey levels", picture, 0.7, True),) * 3, 0.3, 0.001),
        rejection=SimpleNamespace(rows=[row], figures={"fgsm": drawn}, page="rejection/report.html"),
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    run = run_in(folder / "run")
    shutil.copytree(run, folder / "other", ignore=shutil.ignore_patterns("data"))
    Image.new("RGB", (64, 64), "gray").save(folder / "gray.png")
    picture = picture_uri(folder / "gray.png")
    return [
        run / "report.html",
        run / "verification" / "dev" / "report.html",
        write_page_of_two(compare_runs(run, folder / "other"), folder / "two"),
        classifier_in(folder / "classifier"),
        *templates_in(folder),
        suite_in(folder, run / "data"),
        identification_in(folder / "lists-of-a-gallery-and-probes", run / "data"),
        experiment_in(folder),
        audit_in(folder, picture),
        rejection_in(folder),
        certificates_in(folder),
        check_in(folder),
        demo_in(folder, run, picture),
    ]


def test_every_page_is_one_file_that_says_what_it_shows(pages: list[Path]) -> None:
    for page in pages:
        check_page(page)


def test_nothing_is_wider_than_a_phone_or_a_screen(pages: list[Path], tmp_path: Path) -> None:
    assert too_wide(pages, tmp_path, widths=(360, 420, 1040)) == []
