"""Pages: whole in one file, made of the run's files, safe against what names may hold."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from pages import check_page
from small_faces import pattern_embedder, write_faces, write_pairs

from data_prep.errors import InputError
from faceverif.report import run_page
from faceverif.report.contents import with_contents
from faceverif.report.curves import read_metrics
from faceverif.report.run_page import write_run_report, write_verification_report
from faceverif.verification.calibration import write_calibration
from faceverif.verification.hardest import hardest_pairs
from faceverif.verification.options import VerificationOptions
from faceverif.verification.result import VerificationResult
from faceverif.verification.runner import verify

METRICS = "step,epoch,loss,accuracy,learning_rate,dev/accuracy,dev/eer\n" + "".join(
    f"{step},{step // 10},{9 - step / 10},{step / 100},0.1,{'' if step % 10 else step / 50},\n"
    for step in range(1, 40)
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.yaml").write_text("head: {name: cosface}  # <b>bold</b>\n")
    (folder / "provenance.json").write_text(json.dumps({"versions": {"torch": "2"}, "photos": 48}))
    (folder / "metrics.csv").write_text(METRICS)
    write_calibration(folder, result_in(folder))
    return folder


def result_in(folder: Path) -> VerificationResult:
    write_faces(folder / "data", noise=110)
    pairs = write_pairs(folder / "pairs.csv")
    out = folder / "verification" / "dev"
    return verify(pattern_embedder(), folder / "data", pairs, out=out, options=VerificationOptions(flip=True))


def test_pages_are_whole_and_fetch_nothing(run: Path) -> None:
    for path in (write_run_report(run), run / "verification/dev/report.html"):
        check_page(path)


def test_a_verification_page_says_its_numbers_and_protocol(run: Path) -> None:
    folder = run / "verification" / "dev"
    facts = json.loads((folder / "result.json").read_text())
    text = " ".join(write_verification_report(folder).read_text().split())
    for said in (
        f"<b>{100 * facts['accuracy']:.2f} <small>± {100 * facts['accuracy_se']:.2f} %</small></b>",
        "36 genuine and 36 impostor pairs; no fold column",
        "Flip-averaged, no mean subtraction",
        facts["model_sha256"],
        facts["data_sha256"],
        facts["protocol_sha256"],
        "36 impostor pairs: too few",
    ):
        assert said in text


def test_the_hardest_pairs_are_the_extremes(tmp_path: Path) -> None:
    result = result_in(tmp_path)
    same, scores = result.protocol.same, result.scores
    genuine = hardest_pairs(result, same=True, count=5)
    impostor = hardest_pairs(result, same=False, count=5)
    assert scores[genuine].tolist() == sorted(scores[same])[:5]
    assert scores[impostor].tolist() == sorted(scores[~same], reverse=True)[:5]
    text = (tmp_path / "verification/dev/report.html").read_text()
    shown = [float(value) for value in re.findall(r'<b class="genuine">(-?[\d.]+)</b>', text)]
    assert shown == np.round(sorted(scores[same])[:8], 3).tolist()
    named = result.protocol.left[np.flatnonzero(same)[scores[same].argmin()]]
    assert named.replace("/", "/<wbr>").replace("_", "_<wbr>") in text  # a name breaks between its parts


def test_a_run_page_shows_config_curves_thresholds_and_provenance(run: Path) -> None:
    text = write_run_report(run).read_text(encoding="utf-8")
    assert "&lt;b&gt;bold&lt;/b&gt;" in text  # the user's text is text
    assert 'aria-label="Loss over step. training: 8.9 at 1, 5.1 at 39."' in text
    assert "Calibrated thresholds" in text
    assert "<dt>versions.torch</dt><dd>2</dd>" in text


def test_results_of_earlier_weights_are_named_and_not_shown(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = shutil.copytree(run, tmp_path / "run")
    monkeypatch.setattr(run_page, "_weights_sha256", lambda run: "0" * 64)
    text = write_run_report(copied).read_text(encoding="utf-8")
    assert "they are of earlier weights of this run: dev, the calibrated thresholds." in text
    assert ">Calibrated thresholds<" not in text
    assert json.loads((copied / "summary.json").read_text())["numbers"] == {}


def test_a_long_page_lists_its_headings(run: Path) -> None:
    text = write_run_report(run).read_text(encoding="utf-8")
    listed = re.findall(r'<li><a href="#([^"]+)">([^<]+)</a>', text)
    assert listed == re.findall(r'<h2 id="([^"]+)">([^<]+)</h2>', text)
    assert ("dev", "dev") in listed
    assert (
        with_contents("<h2>a &amp; b</h2><h2>A, b!</h2>")
        == '<h2 id="a-b">a &amp; b</h2><h2 id="a-b-2">A, b!</h2>'
    )


def test_a_summary_for_programs_lies_beside_each_page(run: Path) -> None:
    page = write_run_report(run)
    facts = json.loads((run / "verification/dev/result.json").read_text())
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["kind"], summary["title"], summary["page"]) == ("Training run", run.name, page.name)
    assert summary["numbers"]["dev"]["accuracy"] == facts["accuracy"]
    own = json.loads((run / "verification/dev/summary.json").read_text())
    assert own["numbers"] == summary["numbers"]["dev"]


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    (tmp_path / "metrics.csv").write_text("step,epoch,loss\n")
    text = write_run_report(tmp_path).read_text()
    assert "No verification yet" in text
    assert "<svg" not in text


def test_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must be the folder of a training run"):
        write_run_report(tmp_path)


def test_metrics_keep_their_gaps(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,loss,note\n1,2.5,warm\n2,,\n")
    metrics = read_metrics(tmp_path / "metrics.csv")
    assert metrics["step"].tolist() == [1, 2]
    np.testing.assert_array_equal(metrics["loss"], [2.5, np.nan])
    assert np.isnan(metrics["note"]).all()
