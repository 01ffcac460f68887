"""The smallest classification runs: learning, resuming, what is left behind."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data_prep.errors import InputError
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.data import load_image_sets
from faceverif.classification.evaluation import measure_predictions, predict
from faceverif.classification.learner import ClassifierLearner
from faceverif.classification.metrics import mean_angle_per_class
from faceverif.classification.outputs import run_outputs
from faceverif.classification.start_from import ClassifierStart
from faceverif.classification.trained import load_classifier
from faceverif.classification.training import ClassifierRun, prepare, train_classifier
from faceverif.config.reading import validate_config
from faceverif.images.labelled import spread_evenly
from faceverif.training.checkpoint import read_checkpoint


def config(**sections: Any) -> ClassificationConfig:
    settings: dict[str, Any] = {
        "seed": 5,
        "data": {"name": "digits", "limit": 200},
        "network": {"name": "convmixer", "width": 16, "depth": 1, "kernel_px": 3, "embedding_dim": 6},
        "head": {"name": "lgm", "alpha": 0.3, "covariance": "diagonal"},
        "criterion": {"name": "online_label_smoothing"},
        "penalties": [
            {"name": "likelihood", "weight": 0.01},
            {"name": "snr", "weight": 0.001, "update": "epoch"},
            {"name": "proxy_nca", "weight": 0.1},
        ],
        "optimizer": {"name": "sgd", "learning_rate": 0.02},
        "schedule": {"name": "cosine", "margin_warmup_epochs": 1.5},
        "augmentation": {"flip": 0.1, "crop_padding_px": 1},
        "training": {"epochs": 3, "batch_size": 40, "clip_norm": 5.0, "evaluate_every_epochs": 2},
    }
    for key, section in sections.items():
        merged = isinstance(section, dict) and "name" not in section
        settings[key] = settings[key] | section if merged else section
    return validate_config(ClassificationConfig, settings, source="test")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    run = tmp_path_factory.mktemp("whole")
    train_classifier(config(), run, resume=False)
    return run


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


class Killed(Exception):
    pass


def die() -> None:
    raise Killed


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int, how: Callable[[], None] = die) -> None:
    update = ClassifierLearner.update

    def dying(self: ClassifierLearner, *, step: int, last: int = step) -> None:
        if step == last:
            how()
        update(self, step=step)

    monkeypatch.setattr(ClassifierLearner, "update", dying)


@pytest.mark.parametrize("step", [7, 10])
def test_killed_and_resumed_equals_uninterrupted(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    with monkeypatch.context() as patch:
        kill_at(patch, step)
        with pytest.raises(Killed):
            train_classifier(config(), tmp_path, resume=False)
    train_classifier(config(), tmp_path)  # the same call
    assert_same_end(tmp_path, whole)


def test_a_kill_while_an_epoch_is_measured_costs_none_of_its_steps(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ClassifierRun, "_evaluation_error", lambda self, epoch: die())
        with pytest.raises(Killed):
            train_classifier(config(), tmp_path)
    assert read_checkpoint(tmp_path)["step"] == 5  # the first epoch
    train_classifier(config(), tmp_path)
    assert_same_end(tmp_path, whole)


@pytest.mark.parametrize("step", [7, 9], ids=["in an epoch", "its last step"])
def test_a_stopped_run_saves_first_and_the_same_call_continues_it(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    with monkeypatch.context() as patch:
        kill_at(patch, step, how=lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt):
            train_classifier(config(), tmp_path)
    assert read_checkpoint(tmp_path)["step"] == step + 1
    train_classifier(config(), tmp_path)
    assert_same_end(tmp_path, whole)


def assert_same_end(run: Path, whole: Path) -> None:
    expected, found = (load_file(each / "model.safetensors") for each in (whole, run))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    timeless = [{key: row[key] for key in row if key != "images_per_s"} for row in rows(run)]
    assert timeless == [{key: row[key] for key in row if key != "images_per_s"} for row in rows(whole)]


def test_the_run_folder_says_what_was_done(whole: Path) -> None:
    written = rows(whole)
    assert [row["epoch"] for row in written] == ["1", "2", "3"]
    assert [bool(row["evaluation_error"]) for row in written] == [False, True, True]
    result = json.loads((whole / "result.json").read_text())
    assert result["evaluated_on"] == "test"
    assert result["images"] == 359
    assert result["metrics"]["error"] == pytest.approx(float(written[-1]["evaluation_error"]))
    assert len(result["metrics"]["mean_angle_deg"]) == 10
    assert {"top5_error", "macro_f1", "nmi", "recall_at_8", "ece", "nll"} <= result["metrics"].keys()
    provenance = json.loads((whole / "provenance.json").read_text())
    assert provenance["data"]["images"] == 200
    assert provenance["steps"] == 15


def test_another_training_in_the_folder_is_refused(whole: Path) -> None:
    with pytest.raises(InputError, match=r"optimizer\.learning_rate 0\.02 -> 0\.1"):
        train_classifier(config(optimizer={"name": "sgd", "learning_rate": 0.1}), whole)
    with pytest.raises(InputError, match="--resume: needs"):
        train_classifier(config(), whole / "nothing", resume=True)


def test_the_loaded_classifier_is_the_trained_one(whole: Path) -> None:
    classifier = load_classifier(whole)
    _, test = load_image_sets(classifier.config.data, classifier.config.seed)
    images = test.read(torch.arange(len(test)))
    predictions = predict(classifier.network, classifier.head, test)
    torch.testing.assert_close(classifier(images / 255), predictions.logits)
    figures = measure_predictions(predictions, classifier.head, seed=classifier.config.seed)
    written = json.loads((whole / "result.json").read_text())["metrics"]
    assert figures.pop("mean_angle_deg") == pytest.approx(written.pop("mean_angle_deg"))
    assert figures == pytest.approx(written)
    assert classifier.class_names == tuple("0123456789")
    snr = dict(classifier.objective.named_buffers())["penalties.1.thresholds"]
    assert snr.isfinite().all()  # what penalties have learnt comes along


def test_what_pictures_of_a_run_show(whole: Path) -> None:
    classifier, outputs = load_classifier(whole), run_outputs(whole)
    train, test = load_image_sets(classifier.config.data, classifier.config.seed)
    assert outputs.evaluated.embeddings.shape == (len(test), 2)  # of six dimensions
    assert outputs.trained.embeddings.shape == (len(train), 2)
    assert not outputs.evaluated.in_the_plane
    predictions = predict(classifier.network, classifier.head, train)
    np.testing.assert_array_equal(outputs.trained.labels, predictions.labels.numpy())
    angles = mean_angle_per_class(predictions.embeddings, classifier.head.centres(), predictions.labels)
    np.testing.assert_allclose(outputs.training_angles, angles.numpy())
    assert outputs.dense_parameters == 16 * 6 + 6 + sum(each.numel() for each in classifier.head.parameters())
    again = run_outputs(whole)  # kept beside the run
    assert (again.trained.explained, again.dense_parameters) == (
        outputs.trained.explained,
        outputs.dense_parameters,
    )
    np.testing.assert_array_equal(again.evaluated.embeddings, outputs.evaluated.embeddings)


def test_pictures_of_a_large_training_set_are_spread_over_it(whole: Path) -> None:
    train, _ = load_image_sets(load_classifier(whole).config.data, 5)
    assert spread_evenly(train) is train
    few = spread_evenly(train, most=50)
    assert len(few) == 50
    assert torch.equal(few.labels[[0, -1]], train.labels[[0, -1]])


def test_gradients_reach_the_pixels_only(whole: Path) -> None:
    classifier = load_classifier(whole)
    pixels = torch.rand(2, 1, 8, 8, requires_grad=True)
    classifier(pixels).square().sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert not classifier.training


def test_it_learns_digits_with_held_out_ones(tmp_path: Path) -> None:
    learning = config(
        data={"name": "digits", "held_out": 200, "classes": 5},
        head={"name": "softmax"},
        criterion={"name": "cross_entropy"},
        penalties=[],
        augmentation={"flip": 0.0, "crop_padding_px": 0},
        optimizer={"name": "adamw", "learning_rate": 0.02},
        training={"epochs": 4, "precision": "bf16-mixed"},
    )
    train_classifier(learning, tmp_path, resume=False)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["metrics"]["error"] < 0.1
    assert (result["evaluated_on"], result["images"]) == ("held_out", 200)
    assert "top5_error" not in result["metrics"]
    first, *_, last = rows(tmp_path)
    assert float(last["loss"]) < float(first["loss"]) / 2


def test_a_diverging_run_stops_before_its_weights_are_spoilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = ClassifierLearner.compute_gradients

    def diverging(self: ClassifierLearner, *args: Any, step: int, **asked: bool) -> Any:
        return compute(self, *args, step=step, **asked)._replace(loss=math.nan if step == 3 else 1.0)

    updated = []
    monkeypatch.setattr(ClassifierLearner, "compute_gradients", diverging)
    monkeypatch.setattr(ClassifierLearner, "update", lambda self, *, step: updated.append(step))
    with pytest.raises(InputError, match=r"must stay finite; got loss nan, .* at step 3"):
        train_classifier(config(), tmp_path, resume=False)
    assert updated == [0, 1, 2]


def test_what_is_no_finished_run_is_refused(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finished classification run"):
        load_classifier(tmp_path)
    content = (whole / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:-100])
    with pytest.raises(InputError, match="whole and of this version"):
        load_classifier(tmp_path)


def test_a_batch_larger_than_the_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"training\.batch_size"):
        train_classifier(config(training={"epochs": 1, "batch_size": 300}), tmp_path, resume=False)


SOFTMAX: dict[str, Any] = {"head": {"name": "softmax"}, "criterion": {"name": "focal"}, "penalties": []}


def test_a_run_refines_another(tmp_path: Path) -> None:
    """Softmax first, then W-Softmax: its first step starts at the network and class weights of the first."""
    first = tmp_path / "first"
    train_classifier(config(**SOFTMAX, training={"epochs": 1}), first, resume=False)
    wanted = SOFTMAX | {"head": {"name": "wsoftmax", "alpha": 1.0}, "training": {"start_from": first}}
    refining = config(**wanted)
    run = prepare(refining, tmp_path / "run")
    begun = run.learner.network.state_dict()
    start = run.folder.provenance["start_from"]
    assert start == {
        "run": str(first),
        "model_sha256": load_classifier(first).sha256,
        "class_weights": True,
    }
    earlier = load_file(first / "model.safetensors")
    assert earlier.keys() - begun.keys() == {"objective.head.bias"}  # W-Softmax has none
    for name, tensor in begun.items():
        assert torch.equal(tensor, earlier[name]), name


def test_class_centres_are_taken_over_for_the_same_classes_alone(whole: Path, tmp_path: Path) -> None:
    """L-GM's: means and variances. Digits' centres mean nothing for clothes, though there are ten of both."""
    trained = load_classifier(whole)
    training = prepare(config(training={"start_from": whole}), tmp_path / "run")
    head = training.learner.network.objective.head
    for name, tensor in trained.head.state_dict().items():
        assert torch.equal(head.state_dict()[name], tensor), name
    clothes = ClassifierStart.read(whole, tuple("abcdefghij"))
    with torch.no_grad():
        head.get_parameter("means").zero_()
    clothes.give(training.learner.network)
    assert not head.get_parameter("means").any()
    assert clothes.describe(training.learner.network)["class_weights"] is False


def test_a_run_that_continues_keeps_what_it_started_from(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refining = config(training={"start_from": whole, "epochs": 1})
    train_classifier(refining, tmp_path, resume=False)
    monkeypatch.setattr(ClassifierStart, "read", lambda *_: pytest.fail("it is not needed again"))
    start = prepare(refining, tmp_path, resume=True).folder.provenance["start_from"]
    assert start["class_weights"] is True
    assert start == json.loads((tmp_path / "provenance.json").read_text())["start_from"]


def test_a_run_cannot_refine_another_network(tmp_path: Path) -> None:
    first = tmp_path / "first"
    train_classifier(config(**SOFTMAX, training={"epochs": 1}), first, resume=False)
    wider = {"name": "convmixer", "width": 24, "depth": 1, "kernel_px": 3, "embedding_dim": 6}
    refining = config(network=wider, training={"start_from": first})
    with pytest.raises(InputError, match=r"training\.start_from: must be a run with the same network"):
        prepare(refining, tmp_path / "run")
    with pytest.raises(InputError, match=r"^training\.start_from: .* finished classification run"):
        train_classifier(config(training={"start_from": tmp_path}), tmp_path / "other", resume=False)


def test_compiled_steps_are_the_same_steps(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a compiler that generates no code, so that nothing but the wiring can differ."""
    compiled = []

    def plainly(function: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
        def counting(*inputs: torch.Tensor) -> torch.Tensor:
            compiled.append(torch.is_grad_enabled())
            return function(*inputs)

        assert settings == {"mode": "reduce-overhead", "dynamic": False}
        return counting

    monkeypatch.setattr(torch, "compile", plainly)
    train_classifier(config(training={"compile": True}), tmp_path)
    assert_same_end(tmp_path, whole)
    assert compiled == [True] * 18  # three rehearsals, the steps, and none of the evaluations


@pytest.mark.parametrize("forward", [True, False], ids=["forward", "backward"])
def test_where_nothing_compiles_the_steps_run_as_written(
    forward: bool,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: torch.Tensor) -> None:
        raise RuntimeError("no compiler found\nand a long story")

    def failing(function: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
        def uncompiled(pixels: torch.Tensor) -> torch.Tensor:
            embeddings: torch.Tensor = function(pixels)
            fail() if forward else embeddings.register_hook(fail)
            return embeddings

        return uncompiled

    monkeypatch.setattr(torch, "compile", failing)
    train_classifier(config(training={"compile": True}), tmp_path)
    assert_same_end(tmp_path, whole)
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warnings == [
        "warning: training.compile does not work here, so the steps run as written: no compiler found"
    ]
