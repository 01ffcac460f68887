"""What a run leaves behind, ten golden steps, and what stops it."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_faces import write_faces, write_pairs
from small_runs import BATCH, checkpoint, tensors
from small_runs import mobile_run_config as run_config

from data_prep.alignment import find_template
from data_prep.dataset.manifest import AlignedDataset, Status, header_for, write_manifest
from data_prep.errors import InputError
from faceverif.config.yaml_text import parse_yaml
from faceverif.models import load_model
from faceverif.training.fabric import launch_fabric
from faceverif.training.learner import Learner
from faceverif.training.logs.step_figures import StepFigures
from faceverif.training.loop import train

pytestmark = pytest.mark.usefixtures("small_inputs")


def test_run_folder_is_complete(data: Path, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.csv", people=4, photos=5)
    entry = {"data": str(data), "protocol": str(pairs)}
    config = run_config(
        data,
        training={"epochs": 2, "workers": 1},
        verification=[entry | {"name": "own"}, entry | {"name": "late", "every_epochs": 5, "flip": False}],
    )
    run = tmp_path / "run"
    train(config, run, resume=False)

    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if row["loss"]] == ["2", "4"]
    assert [row["step"] for row in rows if row["own/accuracy"]] == ["2", "4"]
    assert [row["step"] for row in rows if row["late/accuracy"]] == ["4"]
    result = json.loads((run / "verification" / "own" / "result.json").read_text())
    assert float(rows[-2]["own/accuracy"]) == pytest.approx(result["accuracy"])

    assert parse_yaml((run / "config.yaml").read_text())["head"]["margin"] == 0.2
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["data"]["photos"] == 20
    assert provenance["data"]["manifest_sha256"] == AlignedDataset.load(data).sha256
    assert provenance["hours"] > 0
    assert (run / "calibration.json").is_file()
    assert (run / "report.html").is_file()
    assert list((run / "tensorboard").iterdir())

    model = load_model(run / "model.safetensors")
    average = {
        name.removeprefix("module."): tensor
        for name, tensor in checkpoint(run)["average"].items()
        if name.startswith("module.")
    }
    assert all(torch.equal(tensor, average[name]) for name, tensor in model.backbone.state_dict().items())
    assert (model.spec.template, model.spec.input_px) == ("arcface-112", 32)


def test_ten_golden_steps(data: Path, tmp_path: Path) -> None:
    """A refactor shows identical numbers: losses of ten steps, all randomness on.

    Without batch normalisation, whose tiny batches would blow up the rounding of another machine.
    """
    config = run_config(
        data,
        backbone={"name": "sphereface", "depth": 20, "embedding_dim": 16, "input_px": 32, "dropout": 0.2},
        optimizer={"learning_rate": 0.005},
        training={"epochs": 5, "log_every_steps": 1, "checkpoint_every_minutes": 60},
    )
    train(config, tmp_path, resume=False)
    with (tmp_path / "metrics.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    golden = [4.1152, 9.72617, 5.53617, 5.52897, 4.86227, 4.18395, 2.51137, 1.96364, 2.56829, 2.02898]
    assert losses == pytest.approx(golden, rel=1e-3)


def test_training_learns_the_patterns(data: Path, tmp_path: Path) -> None:
    config = run_config(
        data,
        head={"margin": 0.0},
        backbone={"dropout": 0.0},
        augmentation={"flip": 0.0, "rotation_deg": 0, "erase": 0},
        training={"epochs": 8, "checkpoint_every_minutes": 60},
    )
    train(config, tmp_path, resume=False)
    with (tmp_path / "metrics.csv").open() as file:
        accuracies = [float(row["accuracy"]) for row in csv.DictReader(file)]
    assert np.mean(accuracies[-3:]) > 0.8 > 0.5 > np.mean(accuracies[:2])


def test_bfloat16_and_adamw_train_too(data: Path, tmp_path: Path) -> None:
    config = run_config(
        data,
        optimizer={"name": "adamw", "learning_rate": 1e-3},
        training={"precision": "bf16-mixed", "epochs": 1, "ema_decay": None},
    )
    train(config, tmp_path, resume=False)
    weights = tensors(checkpoint(tmp_path))
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert weights["/objective/head.weight"].dtype == torch.float32


@pytest.mark.parametrize("broken", ["loss", "gradient_norm"])
def test_nonfinite_step_stops_before_the_update_and_keeps_the_batch(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    compute = Learner.compute_gradients
    seen: dict[str, Any] = {}

    def breaking(self: Learner, batch: Any, *, step: int, **asked: bool) -> StepFigures:
        figures = compute(self, batch, step=step, **asked)
        if step < 3:
            return figures
        seen["batch"], seen["weights"] = batch, self.network.objective.head.weight.detach().clone()
        seen["learner"] = self
        return figures._replace(**{broken: float("nan")})

    monkeypatch.setattr(Learner, "compute_gradients", breaking)
    with pytest.raises(
        InputError, match=r"finite; got .*nan.* at step 3\. The batch is in .*refused_batch.pt"
    ):
        train(run_config(data), tmp_path, resume=False)
    kept = torch.load(tmp_path / "refused_batch.pt", weights_only=True)
    assert torch.equal(kept["crops"], seen["batch"].crops)
    assert kept["crops"].dtype == torch.uint8
    assert torch.equal(kept["labels"], seen["batch"].labels)
    assert len(kept["names"]) == BATCH
    assert torch.equal(seen["learner"].network.objective.head.weight, seen["weights"])
    assert checkpoint(tmp_path)["step"] == 3


def test_an_exploding_run_is_stopped_by_itself(data: Path, tmp_path: Path) -> None:
    config = run_config(
        data,
        head={"name": "softmax"},
        optimizer={"learning_rate": 1e30},
        training={"clip_norm": None, "epochs": 10},
    )
    with pytest.raises(InputError, match="finite"):
        train(config, tmp_path, resume=False)


def test_weight_decay_spares_vectors(data: Path) -> None:
    config = run_config(data)
    learner = Learner(config, launch_fabric(config), classes=4, steps_per_epoch=2)
    decaying, spared = learner.optimizer.param_groups
    assert decaying["weight_decay"] == 5e-4
    assert spared["weight_decay"] == 0
    assert {p.ndim for p in decaying["params"]} == {2, 4}
    assert {p.ndim for p in spared["params"]} == {1}


@pytest.mark.parametrize(
    ("precision", "units", "warned"),
    [("bf16-mixed", False, True), ("bf16-mixed", True, False), ("32-true", False, False)],
)
def test_a_processor_without_bfloat16_is_named_before_the_slow_training(
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    precision: str,
    units: bool,
    warned: bool,
) -> None:
    able = {"architecture": "x86_64", "avx512_f": True, "avx512_bf16": units}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    launch_fabric(run_config(data, training={"precision": precision}))
    assert ("no bfloat16 units" in capsys.readouterr().err) is warned


def test_margin_is_off_before_the_first_step_of_a_margin_warmup(data: Path) -> None:
    config = run_config(data)
    learner = Learner(config, launch_fabric(config), classes=4, steps_per_epoch=2)
    assert [learner.margin_progress(step) for step in range(4)] == [0, 0.5, 1, 1]


def refused(root: Path, run: Path, **sections: Any) -> str:
    with pytest.raises(InputError) as raised:
        train(run_config(root, **sections), run, resume=False)
    assert not (run / "checkpoints").exists()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.usefixtures("real_inputs")
def test_crops_of_another_scale_are_refused(data: Path, tmp_path: Path) -> None:
    assert "must be at least 94 for arcface-112 crops" in refused(data, tmp_path / "run")


def test_bad_data_is_refused_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert "manifest.parquet" in refused(tmp_path / "nowhere", run)
    assert "at most the side of the crops, 112" in refused(data, run, backbone={"input_px": 120})
    assert "0 of 4 people" in refused(data, run, data={"min_photos_per_identity": 6})
    assert "number of photos, 20" in refused(data, run, training={"batch_size": 21})
    assert "4 parts" in refused(data, run, training={"batch_size": 10, "accumulate": 4})


def test_a_temporary_folder_too_long_for_sockets_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("t" * 130)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert "TMPDIR: must have at most 71 bytes" in refused(data, tmp_path / "run", training={"workers": 1})
    train(run_config(data, training={"epochs": 1, "workers": 0}), tmp_path / "run")


def test_one_person_is_refused(tmp_path: Path) -> None:
    alone = write_faces(tmp_path / "alone", people=1, photos=9).root
    assert "1 of 1 person" in refused(alone, tmp_path / "run")


def test_empty_data_set_is_refused(data: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path, AlignedDataset.load(data).header, [])
    assert "0 of 0 people" in refused(tmp_path, tmp_path / "run")


def test_missing_and_broken_crops_are_named(tmp_path: Path) -> None:
    dataset = write_faces(tmp_path / "data", people=3, photos=4)
    broken = tmp_path / "data" / dataset.column("crop")[5]
    broken.write_bytes(b"no picture")
    with pytest.raises(InputError, match=broken.name):
        train(run_config(dataset.root, training={"workers": 1}), tmp_path / "run", resume=False)
    broken.unlink()
    assert f"1 missing in {dataset.root}, the first {broken}" in refused(dataset.root, tmp_path / "run2")


def test_verification_of_another_template_is_refused_before_training(data: Path, tmp_path: Path) -> None:
    other = write_faces(tmp_path / "other", people=4, photos=5, template="arcface-128").root
    pairs = write_pairs(tmp_path / "pairs.csv", people=4, photos=5)
    entry = {"name": "own", "data": str(other), "protocol": str(pairs)}
    assert "arcface-128" in refused(data, tmp_path / "run", verification=[entry])


def test_faces_that_were_not_found_are_not_trained_on(tmp_path: Path) -> None:
    from faceverif.training.data import load_training_photos

    hidden = {"P01/P01_0002": Status.NO_FACE, "P02/P02_0001": Status.FAILED}
    dataset = write_faces(tmp_path, people=3, photos=3, status=hidden)
    photos = load_training_photos(run_config(dataset.root).data, input_px=32, seed=0)
    assert len(photos) == 7
    assert photos.identities == ("P00", "P01", "P02")
    assert np.array_equal(photos.labels, [0, 0, 0, 1, 1, 2, 2])
    chosen = run_config(dataset.root, data={"min_photos_per_identity": 3})
    with pytest.raises(InputError, match="1 of 3 people"):
        load_training_photos(chosen.data, input_px=32, seed=0)


def test_photos_that_lie_in_no_folder_of_a_person_are_reported_as_that(tmp_path: Path) -> None:
    from faceverif.training.data import load_training_photos

    rows = [{"photo": f"{photo}.jpg", "crop": f"{photo}.png", "status": "aligned"} for photo in range(3)]
    header = header_for(find_template("arcface-112"), policy="centred-largest", min_face_px=20)
    write_manifest(tmp_path, header, rows)
    with pytest.raises(
        InputError, match=r"3 photos without an identity in .*\. Put .* into a folder per person"
    ):
        load_training_photos(run_config(tmp_path).data, input_px=32, seed=0)
