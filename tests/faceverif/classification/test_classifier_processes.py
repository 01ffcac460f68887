"""Two processes train an image classifier as one does; batches that cannot be divided are refused."""

from __future__ import annotations

import json
import os
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import run_forked
from safetensors.torch import load_file

from data_prep.errors import InputError
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.learner import ClassifierLearner, ImageBatch
from faceverif.classification.training import train_classifier
from faceverif.config.reading import validate_config
from faceverif.training.fabric import launch_fabric

# Without batch normalisation and SNR, which see a share alone, the division of a batch changes no step.
COMMON: dict[str, Any] = {
    "data": {"name": "digits", "limit": 100},
    "network": {"name": "strided_conv", "embedding_dim": 8, "width": 4},
    "head": {"name": "softmax"},
    "optimizer": {"name": "sgd", "learning_rate": 0.05},
    "schedule": {"name": "cosine"},
    "augmentation": {"flip": 0.5, "crop_padding_px": 1},
    "training": {"epochs": 2, "batch_size": 50},
}


def classify_in_a_share(rank: int, run: Path, folder: Path) -> None:
    with (folder / f"said-{rank}.txt").open("w") as said, redirect_stderr(said):
        train_classifier(validate_config(ClassificationConfig, COMMON, source="test"), run)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used a GPU cannot be forked")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_train_the_classifier_that_one_trains(tmp_path: Path) -> None:
    together, alone = tmp_path / "together", tmp_path / "alone"
    run_forked(classify_in_a_share, 2, tmp_path, together, tmp_path)
    train_classifier(validate_config(ClassificationConfig, COMMON, source="test"), alone)
    many, one = (load_file(run / "model.safetensors") for run in (together, alone))
    for name, tensor in one.items():
        torch.testing.assert_close(many[name], tensor, rtol=1e-4, atol=1e-5)
    assert json.loads((together / "provenance.json").read_text())["machine"]["processes"] == 2
    rows = [(run / "metrics.csv").read_text().splitlines() for run in (together, alone)]
    assert len(rows[0]) == len(rows[1]) == 3
    said = [(tmp_path / f"said-{rank}.txt").read_text() for rank in (0, 1)]
    assert said[0].count("strided_conv (") == 1
    assert "strided_conv (" not in said[1]  # one process speaks


def continues_within_an_epoch(rank: int) -> None:
    """A checkpoint between two steps, of which each process has seen its own share."""
    gathering = {
        "criterion": {"name": "online_label_smoothing"},
        "penalties": [{"name": "snr", "weight": 0.1, "update": "epoch"}],
    }
    settings = validate_config(ClassificationConfig, COMMON | gathering, source="test")
    fabric = launch_fabric(settings)

    def learner() -> ClassifierLearner:
        return ClassifierLearner(settings, fabric, shape=(1, 8, 8), classes=10, steps_per_epoch=2)

    def step(learner: ClassifierLearner, number: int) -> None:
        seen = torch.Generator().manual_seed(10 * rank + number)
        images = torch.randint(256, (25, 1, 8, 8), dtype=torch.uint8, generator=seen)
        learner.compute_gradients(ImageBatch(images, torch.arange(25) % 10), step=number)
        learner.update(step=number)

    whole, continued = learner(), learner()
    step(whole, 0)
    saved = [whole.state()]
    torch.distributed.broadcast_object_list(saved)  # the first process writes it
    continued.load_state(saved[0])
    for each in (whole, continued):
        step(each, 1)
        each.end_epoch()
    one, other = (each.network.objective.state_dict() for each in (whole, continued))
    assert not one["penalties.0.thresholds"].isnan().any()
    assert (one["criterion.soft_labels"] - 0.1).abs().max() > 1e-3
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used a GPU cannot be forked")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_an_interruption_within_an_epoch_keeps_the_sums_of_all_processes(tmp_path: Path) -> None:
    run_forked(continues_within_an_epoch, 2, tmp_path)


def classify_differently_then_alone(rank: int, run: Path) -> None:
    """Two processes that disagree, then two of which one vanishes."""
    different = COMMON | {"seed": rank, "optimizer": {"name": "sgd", "learning_rate": 0.05 * (1 + rank)}}
    differences = r"with optimizer\.learning_rate 0\.05 -> 0\.1, seed 0 -> 1\. Make"
    with pytest.raises(InputError, match=rf"^torchrun: .* got process 1 on .* {differences}"):
        train_classifier(validate_config(ClassificationConfig, different, source="test"), run)
    assert not (run / "config.yaml").exists()
    if rank == 1:
        ClassifierLearner.update = lambda *_, **__: os._exit(0)  # type: ignore[method-assign]
    with pytest.raises(InputError, match=r"^torchrun: all processes of a training must stay alive"):
        train_classifier(validate_config(ClassificationConfig, COMMON, source="test"), run)
    os._exit(0)  # the group has lost a process, and cannot end together


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used a GPU cannot be forked")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_that_differ_or_vanish_stop_the_others(tmp_path: Path) -> None:
    run_forked(classify_differently_then_alone, 2, tmp_path, tmp_path / "run")


@pytest.mark.parametrize(("processes", "advice"), [(3, "48 does"), (40, "80 does")])
def test_a_batch_that_cannot_be_divided_is_refused(
    monkeypatch: pytest.MonkeyPatch, processes: int, advice: str
) -> None:
    wanted = validate_config(ClassificationConfig, COMMON, source="test")
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    rule = rf"training\.batch_size: must divide into {processes} processes of 2 or more .*{advice}; got 50"
    with pytest.raises(InputError, match=rule):
        launch_fabric(wanted)
