"""Thresholds of a run: read from the scores, tied to the model, refused where they would mean nothing."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from small_faces import pattern_embedder, write_faces, write_pairs

from data_prep.dataset.manifest import Status
from data_prep.errors import InputError
from data_prep.protocols import protocol_alone
from faceverif.intervals import wilson_interval
from faceverif.models.location import SHIPPED
from faceverif.report import run_page
from faceverif.training.checks import VerificationCheck
from faceverif.training.finished_run import write_results
from faceverif.verification import runner
from faceverif.verification.calibrate import calibrate
from faceverif.verification.calibration import (
    calibration_of,
    load_calibration,
    refuse_uncalibrated,
    write_calibration,
)
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.options import VerificationOptions
from faceverif.verification.result import VerificationResult
from faceverif.verification.runner import evaluate
from faceverif.verification.score_histogram import bin_edges


def result_on(folder: Path, *, subtract_mean: bool = False, people: int = 12) -> VerificationResult:
    dataset = write_faces(folder / "data", people=people, noise=110)
    pairs = protocol_alone(write_pairs(folder / "pairs.csv", people=people))
    return evaluate(
        EmbeddedPhotos(pattern_embedder(), dataset, flip=True), pairs, subtract_mean=subtract_mean
    )


def test_a_threshold_keeps_its_far_on_the_pairs_it_came_from(tmp_path: Path) -> None:
    result = result_on(tmp_path)
    write_calibration(tmp_path, result)
    calibration = load_calibration(tmp_path, model_sha256=pattern_embedder().sha256)
    assert [point.far for point in calibration.points] == [0.1]
    point = calibration.point(0.1)
    accepted = result.scores[~result.protocol.same] >= point.threshold
    assert accepted.mean() == point.measured_far == point.false_accepts / 36 <= 0.1
    # The next lower score would accept more impostors than asked for.
    lower = max(score for score in result.scores if score < point.threshold)
    assert (result.scores[~result.protocol.same] >= lower).mean() > 0.1
    assert (calibration.impostor_pairs, calibration.protocol, calibration.flip) == (36, "pairs", True)


def test_the_scores_of_all_pairs_are_kept_as_a_histogram(tmp_path: Path) -> None:
    result = result_on(tmp_path)
    write_calibration(tmp_path, result)
    calibration = load_calibration(tmp_path, model_sha256=pattern_embedder().sha256)
    assert calibration.scores is not None
    edges = bin_edges()
    for counts, scores in (
        (calibration.scores.genuine, result.scores[result.protocol.same]),
        (calibration.scores.impostor, result.scores[~result.protocol.same]),
    ):
        assert sum(counts) == len(scores)
        place = int(np.argmax(counts))
        inside = (scores >= edges[place]) & (scores < edges[place + 1])
        assert inside.sum() == counts[place]


def test_the_histogram_is_of_the_scored_pairs(tmp_path: Path) -> None:
    """View 1 has a part that only chooses the threshold."""
    dataset = write_faces(tmp_path / "data", people=12, noise=110)
    pairs = replace(
        protocol_alone(write_pairs(tmp_path / "pairs.csv", people=12)), scored_folds=(0, 1, 2, 3, 4)
    )
    photos = EmbeddedPhotos(pattern_embedder(), dataset, flip=True)
    write_calibration(tmp_path, evaluate(photos, pairs, subtract_mean=False))
    calibration = load_calibration(tmp_path, model_sha256=pattern_embedder().sha256)
    assert calibration.scores is not None
    impostors = int((pairs.scored & ~pairs.same).sum())
    assert sum(calibration.scores.impostor) == calibration.impostor_pairs == impostors < 36


def test_a_file_of_an_earlier_version_has_no_histogram_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    path = write_calibration(tmp_path, result_on(tmp_path))
    content = json.loads(path.read_text())
    content["scores"]["impostor"][0] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="must be as written"):
        load_calibration(tmp_path, model_sha256=pattern_embedder().sha256)
    del content["scores"]
    path.write_text(json.dumps(content))
    assert load_calibration(tmp_path, model_sha256=pattern_embedder().sha256).scores is None


def test_a_far_that_was_not_calibrated_names_those_that_were(tmp_path: Path) -> None:
    write_calibration(tmp_path, result_on(tmp_path))
    calibration = load_calibration(tmp_path, model_sha256=pattern_embedder().sha256)
    with pytest.raises(InputError, match=r"36 impostor pairs gave 0.1; got 0.001"):
        calibration.point(0.001)


def test_a_far_that_a_user_names_is_calibrated_beside_the_usual_ones(tmp_path: Path) -> None:
    result = result_on(tmp_path)
    calibration = calibration_of(result, fars=(0.05, 0.2, 0.1))
    assert [point.far for point in calibration.points] == [0.2, 0.1, 0.05]
    point = calibration.point(0.05)
    assert point.false_accepts == 1  # of 36 pairs: two would be 0.056
    assert (result.scores[~result.protocol.same] >= point.threshold).sum() == 1
    with pytest.raises(InputError, match=r"0.001 needs at least 1,000 impostor pairs; got 36"):
        calibration_of(result, fars=(0.001,))


def test_the_way_to_a_far_names_the_pairs_that_it_needs(tmp_path: Path) -> None:
    write_calibration(tmp_path, result_on(tmp_path))
    words = rf"calibrate --model {tmp_path} --data ALIGNED --protocol PAIRS"
    with pytest.raises(InputError, match=rf"or set it: faceverif {words} --far 0.05$"):
        refuse_uncalibrated(tmp_path, 0.05)
    with pytest.raises(InputError, match=rf"with at least 100,000 impostor pairs: .*{words} --far 1e-05$"):
        refuse_uncalibrated(tmp_path, 1e-5)
    with pytest.raises(InputError, match=r"Ask for one of these\.$"):
        refuse_uncalibrated(tmp_path, 0)
    refuse_uncalibrated(tmp_path, 0.1)


def test_thresholds_beside_no_model_are_set_in_their_own_file(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    write_calibration(tmp_path, result_on(tmp_path))
    with pytest.raises(InputError, match=rf"--model runs/a .* --out {file} --far 0.05$"):
        refuse_uncalibrated(Path("runs/a"), 0.05, file=file)
    with pytest.raises(InputError, match=r"calibrate --data .* --out (\S+) --far 0.05; .* --calibration \1$"):
        refuse_uncalibrated(SHIPPED, 0.05)


def test_thresholds_of_another_model_are_refused(tmp_path: Path) -> None:
    write_calibration(tmp_path, result_on(tmp_path))
    with pytest.raises(InputError, match="must belong to the model"):
        load_calibration(tmp_path, model_sha256="0" * 64)


def test_no_calibration_and_a_broken_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must have thresholds, in .*calibration\.json; got no such file"):
        load_calibration(tmp_path, model_sha256="")
    with pytest.raises(InputError, match=r"calibrate --model \S+ --preprocess rgb-127\.5 --output 1 --data "):
        load_calibration(tmp_path, model_sha256="", preprocess="rgb-127.5", output="1")
    (tmp_path / "calibration.json").write_text('{"protocol": "x"}')
    with pytest.raises(InputError, match="must be as written"):
        load_calibration(tmp_path, model_sha256="")


def test_verifications_that_give_no_threshold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got mean subtraction"):
        write_calibration(tmp_path, result_on(tmp_path / "a", subtract_mean=True))
    with pytest.raises(InputError, match="got 9 impostor pairs"):
        write_calibration(tmp_path, result_on(tmp_path / "b", people=3))
    assert not (tmp_path / "calibration.json").exists()


def test_pairs_with_an_unreadable_photo_set_no_threshold(tmp_path: Path) -> None:
    """As errors of a verification they would be the most similar strangers."""
    broken = "P03/P03_0002"
    dataset = write_faces(tmp_path / "data", noise=110, status={broken: Status.FAILED})
    pairs = protocol_alone(write_pairs(tmp_path / "pairs.csv"))
    made = calibrate(
        pattern_embedder(),
        dataset.root,
        tmp_path / "pairs.csv",
        out=tmp_path / "calibration.json",
        options=VerificationOptions(flip=True),
    )
    readable = np.array([broken not in pair for pair in zip(pairs.left, pairs.right, strict=True)])
    whole = evaluate(
        EmbeddedPhotos(pattern_embedder(), write_faces(tmp_path / "whole", noise=110), flip=True),
        pairs,
        subtract_mean=False,
    )
    impostors = whole.scores[readable & ~pairs.same]
    point = load_calibration(tmp_path, model_sha256=pattern_embedder().sha256).point(0.1)
    assert (impostors >= point.threshold).sum() == point.false_accepts == len(impostors) // 10
    assert point.threshold < 1
    found = made.calibration
    assert (found.genuine_pairs, found.impostor_pairs) == (
        int((readable & pairs.same).sum()),
        len(impostors),
    )
    lost = int((~readable).sum())
    assert found.warnings == (f"left out {lost} of {len(pairs)} pairs: a photo could not be read",)
    assert f"not readable: {broken}.jpg" in made.text()


def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # for root, no rights are missing
    with pytest.raises(InputError, match="--out: must be in a place where you may write"):
        calibrate(
            pattern_embedder(),
            tmp_path / "no data",
            tmp_path / "no pairs.csv",
            out=tmp_path / "calibration.json",
            options=VerificationOptions(flip=True),
        )


def test_too_few_readable_pairs_are_refused(tmp_path: Path) -> None:
    status = {
        f"P{person:02d}/P{person:02d}_{photo:04d}": Status.FAILED
        for person in range(10)
        for photo in (1, 2, 3)
    }
    dataset = write_faces(tmp_path / "data", status=status)
    pairs = protocol_alone(write_pairs(tmp_path / "pairs.csv"))
    result = evaluate(EmbeddedPhotos(pattern_embedder(), dataset, flip=True), pairs, subtract_mean=False)
    with pytest.raises(
        InputError, match=r"got 3 impostor pairs.* and 63 pairs with a photo that could not be read\. See the"
    ):
        write_calibration(tmp_path, result)


def test_a_verification_that_gives_no_threshold_leaves_a_training_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = []
    monkeypatch.setattr(run_page, "write_run_report", lambda run: run / "report.html")
    monkeypatch.setattr(runner, "write_result", lambda _, out: written.append(out))
    one, other = (
        cast(VerificationCheck, SimpleNamespace(config=SimpleNamespace(name=name))) for name in ("one", "two")
    )
    result = result_on(tmp_path, subtract_mean=True)
    write_results(tmp_path, [(one, result), (other, result)])
    said = capsys.readouterr().err
    assert "no thresholds were set: calibration: needs a verification without mean subtraction" in said
    assert f"report: {tmp_path / 'report.html'}" in said
    assert written == [tmp_path / "verification/one", tmp_path / "verification/two"]


def test_the_interval_holds_the_rate_and_narrows_with_more_pairs() -> None:
    # 8 in 20: worked out by hand from Wilson's formula.
    assert wilson_interval(8, 20) == pytest.approx((0.2188, 0.6134), abs=1e-4)
    assert wilson_interval(0, 30)[0] == 0
    widths = [np.ptp(wilson_interval(count, 10 * count)) for count in (1, 10, 100, 1000)]
    assert widths == sorted(widths, reverse=True)
