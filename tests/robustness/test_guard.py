"""Rejecting in `faceverif compare`: calibrated once, kept in the run, refused where it would mean nothing."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_photos import drawn_photos
from safetensors import safe_open
from safetensors.torch import save_file
from small_faces import face, write_faces, write_pairs
from small_runs import run_config

from data_prep.errors import InputError
from data_prep.lock import locked
from data_prep.protocols import protocol_alone
from faceverif.cli import main
from faceverif.heads.softmax import SoftmaxHead
from faceverif.images.faces import FaceImages
from faceverif.models import MODEL_NAME, load_model
from faceverif.training.loop import train
from faceverif.verification.calibration import write_calibration
from faceverif.verification.compare import Comparer
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.runner import evaluate
from robustness import guard
from robustness.guard import (
    GUARD_NAME,
    _origin,
    _strangers,
    _to_fit_on,
    calibrate_guard,
    detector_for,
    load_guard,
)
from robustness.loaded_run import load_run

pytestmark = pytest.mark.usefixtures("small_inputs")

HEADS: dict[str, dict[str, Any]] = {
    "lgm_class": {
        "head": {"name": "lgm", "alpha": 0.1},
        "penalties": [{"name": "likelihood", "weight": 0.1}],
    },
    "mahalanobis": {"head": {"name": "softmax"}},
}
PEOPLE, PHOTOS = 4, 16


@pytest.fixture(scope="module", params=HEADS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that held out 40 photos, with its guard."""
    folder = tmp_path_factory.mktemp(request.param)
    write_faces(folder / "aligned", people=PEOPLE, photos=PHOTOS)
    config = run_config(
        folder / "aligned",
        data={"held_out_per_identity": 10},
        training={"epochs": 4, "ema_decay": None, "checkpoint_every_minutes": 60},
        **HEADS[request.param],
    )
    train(config, folder / "run", resume=False)
    kept = calibrate_guard(folder / "run")
    assert (kept.name, len(kept.clean_scores)) == (request.param, 40)
    return folder / "run"


def crops_of(people: int, *, photo: int = 50) -> np.ndarray:
    return np.stack([face(person, photo, side=112) for person in range(people)])


def test_of_very_many_people_some_are_taken_whole(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = load_run(run)
    assert len(_to_fit_on(finished)) == 6 * PEOPLE  # all: they do not outnumber the people by five dimensions
    monkeypatch.setattr(guard, "_FIT", PEOPLE)
    monkeypatch.setattr(guard, "_SPARE_PER_DIMENSION", 9 / 16)
    taken = _to_fit_on(finished)
    assert taken.labels.bincount(minlength=PEOPLE).sort().values.tolist() == [0, 0, 6, 6]
    assert not set(taken.rows) - set(finished.trained_on.rows)  # type: ignore[union-attr]
    monkeypatch.setattr(guard, "_FIT", 5 * PEOPLE)
    assert _to_fit_on(finished).labels.bincount().tolist() == 4 * [5]


def test_where_mahalanobis_would_need_more_photos_neighbours_take_its_place(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = SoftmaxHead(classes=100, embedding_dim=512)
    few, enough = (torch.arange(100).repeat(photos) for photos in (5, 7))
    assert detector_for(wide, enough) == "mahalanobis"
    assert detector_for(wide, few) == "knn"
    assert "mahalanobis needs 612 training photos for 100 people and 512 dimensions, and there are 500" in (
        capsys.readouterr().err
    )
    with pytest.raises(
        InputError, match=r"--model: must be trained on 50 photos or more.* got 49\. .*fit-head"
    ):
        detector_for(wide, few[:49])
    before = (run / GUARD_NAME).read_bytes()
    monkeypatch.setattr(guard, "detector_for", lambda head, labels: "knn")
    monkeypatch.setattr(guard, "_to_fit_on", lambda of: of.trained_on.take(torch.arange(24).repeat(3)))
    kept = calibrate_guard(run)
    scores = load_guard(run, rate=0.5).scores(crops_of(PEOPLE))
    (run / GUARD_NAME).write_bytes(before)
    assert kept.text().startswith("knn, thresholds from 40 clean photos")
    assert scores.shape == (PEOPLE,)
    assert (scores > 0).all()


def test_a_kept_guard_rejects_what_lies_above_its_threshold(run: Path) -> None:
    crops = crops_of(PEOPLE)
    strict, lenient = load_guard(run, rate=0.9), load_guard(run, rate=0.03)
    assert strict.point.threshold < lenient.point.threshold
    scores = strict.scores(crops)
    np.testing.assert_allclose(scores, lenient.scores(crops))
    assert (scores > strict.point.threshold).any()
    photos = [Path(f"{number}.jpg") for number in range(PEOPLE)]
    text = strict.answer(photos, crops, decision="same person")
    rejected = [
        photo.name for photo, score in zip(photos, scores, strict=True) if score > strict.point.threshold
    ]
    lines = text.splitlines()
    assert [line.split()[1] for line in lines[:-1]] == rejected
    assert "false-rejection rate of 0.9, from 40 clean photos: held-out photos of training" in lines[-1]
    assert "same person" not in text


def test_what_is_not_rejected_gets_its_decision(run: Path) -> None:
    guarded = load_guard(run, rate=0.03)
    calm = crops_of(PEOPLE)[guarded.scores(crops_of(PEOPLE)) <= guarded.point.threshold][:1]
    text = guarded.answer([Path("a.jpg")], calm, decision="same person: similarity 0.9")
    assert text.splitlines()[0] == "same person: similarity 0.9"
    assert text.splitlines()[1].startswith("not rejected: scores ")


def test_a_rate_that_the_photos_do_not_resolve_says_how_many_it_needs(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rate of 0\.01 needs 99 clean photos; got 40 .*ask for 0\.025\."):
        load_guard(run, rate=0.01)
    with pytest.raises(InputError, match=r"--reject: must lie in \(0, 1\)"):
        load_guard(run, rate=0.0)
    before = (run / GUARD_NAME).read_bytes()
    write_faces(tmp_path / "others", people=10, photos=10)
    kept = calibrate_guard(run, data=tmp_path / "others")
    assert load_guard(run, rate=0.01).point.calibration_size == 100
    assert str(tmp_path / "others") in kept.text()
    (run / GUARD_NAME).write_bytes(before)


def test_a_damaged_calibration_is_one_line(run: Path) -> None:
    whole = (run / GUARD_NAME).read_bytes()
    with safe_open(run / GUARD_NAME, framework="pt") as file:
        about = json.loads(*file.metadata().values())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    seal = about.pop("sha256")
    try:
        (run / GUARD_NAME).write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        with pytest.raises(InputError, match="the hash differs"):
            load_guard(run, rate=0.1)
        for changed, scores in (
            (about | {"sha256": seal, "clean": "x"}, tensors["clean_scores"]),
            (about | {"format": 1}, tensors["clean_scores"][None]),
            (about | {"format": 1}, tensors["clean_scores"] * float("nan")),
            (about | {"format": 1, "detector": "x"}, tensors["clean_scores"]),
            (about | {"format": 1, "detector": [1]}, tensors["clean_scores"]),
        ):
            metadata = {"faceverif.rejection": json.dumps(changed)}
            save_file(tensors | {"clean_scores": scores}, run / GUARD_NAME, metadata=metadata)
            with pytest.raises(InputError, match="must be a file that `faceverif calibrate-rejection` wrote"):
                load_guard(run, rate=0.1)
    finally:
        (run / GUARD_NAME).write_bytes(whole)


def test_two_commands_do_not_fill_one_run(run: Path) -> None:
    with (
        locked(run, command="faceverif calibrate-rejection"),
        pytest.raises(InputError, match="another `faceverif calibrate-rejection` is filling"),
    ):
        calibrate_guard(run)


@pytest.mark.parametrize(
    "damage",
    [
        {"clean_scores": torch.empty(0)},
        {"clean_scores": torch.tensor([0.0, torch.nan])},
        {"clean_scores": torch.zeros(2, 2)},
        {"detector.means": torch.zeros(2, 3), "detector.precision": torch.eye(3)},
        {"detector.means": torch.zeros(0, 16)},
    ],
)
def test_a_calibration_of_an_earlier_version_is_checked_by_its_shapes(
    run: Path, tmp_path: Path, damage: dict[str, torch.Tensor]
) -> None:
    """It has no hash."""
    for name in ("model.safetensors", "classifier.safetensors"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with safe_open(run / GUARD_NAME, framework="pt") as file:
        [(key, text)] = file.metadata().items()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    about = {name: value for name, value in json.loads(text).items() if name != "sha256"} | {"format": 1}
    if not damage.keys() & tensors.keys():
        pytest.skip("a detector that learns nothing")
    for content in (tensors, tensors | damage):
        save_file(content, tmp_path / GUARD_NAME, metadata={key: json.dumps(about)})
        if content is tensors:
            load_guard(tmp_path, rate=0.1)
        else:
            with pytest.raises(
                InputError, match=r"must be a file that `faceverif calibrate-rejection` wrote"
            ):
                load_guard(tmp_path, rate=0.1)


def test_a_guard_works_without_the_training_photos_and_is_calibrated_where_they_are_now(
    run: Path, tmp_path: Path
) -> None:
    there = run.parent / "aligned"
    copied = shutil.copytree(run, tmp_path / "run")
    moved = there.rename(tmp_path / "moved")
    try:
        before = load_guard(copied, rate=0.1).point
        with pytest.raises(InputError, match=r"data\.path of the run: there is no such .*--trained-on"):
            calibrate_guard(copied)
        calibrate_guard(copied, trained_on=moved)
    finally:
        moved.rename(there)
    assert load_guard(copied, rate=0.1).point == before


def test_the_training_set_is_no_clean_data(run: Path) -> None:
    before = (run / GUARD_NAME).read_bytes()
    with pytest.raises(
        InputError, match=r"--data: must not be the data set .* trained on; .*Leave out --data"
    ):
        calibrate_guard(run, data=run.parent / "aligned")
    assert (run / GUARD_NAME).read_bytes() == before


def test_of_the_training_set_those_are_clean_whom_the_training_left_out(run: Path) -> None:
    finished = load_run(run)
    photos = finished.trained_on
    assert isinstance(photos, FaceImages)
    fewer = replace(finished, trained_on=replace(photos, class_names=photos.class_names[1:]))
    people = photos.dataset.column("identity")[_strangers(fewer, photos.dataset)]
    assert people.tolist() == [photos.class_names[0]] * PHOTOS
    words = _origin(photos, fewer, Path("set"))
    assert words == "aligned photos in set of people whom the training left out"


def test_what_a_run_lacks_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"--model: must be a finished face run, or .*; got .*Name a folder that `faceverif train`",
    ):
        calibrate_guard(tmp_path / "nothing")
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("model.safetensors", "classifier.safetensors"):
        (bare / name).write_bytes((run / name).read_bytes())
    with pytest.raises(InputError, match=r"needs a rejection\.safetensors.*calibrate-rejection --model"):
        load_guard(bare, rate=0.1)
    config = run_config(run.parent / "aligned", training={"epochs": 1})
    train(config, tmp_path / "other", resume=False)
    with pytest.raises(InputError, match=r"clean photos: must be there; got none.*held_out_per_identity"):
        calibrate_guard(tmp_path / "other")
    (tmp_path / "other" / GUARD_NAME).write_bytes((run / GUARD_NAME).read_bytes())
    with pytest.raises(InputError, match="belongs to another model"):
        load_guard(tmp_path / "other", rate=0.1)
    other = write_faces(tmp_path / "wide", people=2, photos=2, template="arcface-128").root
    with pytest.raises(InputError, match="crops must be what the model was made for"):
        calibrate_guard(run, data=other)


def test_compare_asks_the_guard(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write_faces(tmp_path / "aligned", people=4, photos=4)
    pairs = protocol_alone(write_pairs(tmp_path / "pairs.csv", people=4, photos=4))
    embedded = EmbeddedPhotos(load_model(run / MODEL_NAME), dataset, flip=False)
    write_calibration(run, evaluate(embedded, pairs, subtract_mean=False))
    photos = drawn_photos(tmp_path / "photos", identities=1, photos=2, seed=3)
    command = [
        "faceverif",
        "compare",
        *map(str, photos),
        "--run",
        str(run),
        "--far",
        "0.1",
        "--reject",
        "0.5",
    ]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code in (0, None)
    comparison = Comparer.load(run, far=0.1).compare(photos[0], photos[1])
    guarded = load_guard(run, rate=0.5)
    answer = guarded.answer(photos, comparison.crops, decision=comparison.text())
    assert capsys.readouterr().out == answer + "\n"

    monkeypatch.setattr(sys, "argv", [*command, "--csv"])
    with pytest.raises(SystemExit):
        main()
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    rejected = guarded.verdict(guarded.scores(comparison.crops).tolist())["rejected"]
    assert row["rejected"] == {0: "none", 1: "first", 2: "second", 3: "both"}[rejected[0] + 2 * rejected[1]]
    assert (row["same"] == "") is any(rejected)
