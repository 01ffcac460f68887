"""A dry run checks what training would meet, measures it, and leaves no file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_faces import write_faces, write_pairs
from small_runs import mobile_run_config, run_config

from data_prep.dataset.manifest import Status
from data_prep.errors import InputError
from faceverif.training import rehearsal
from faceverif.training.checkpoint import checkpoint_path
from faceverif.training.dry_run import rehearse
from faceverif.training.learner import Learner
from faceverif.training.logs.step_figures import StepFigures
from faceverif.training.loop import train

pytestmark = pytest.mark.usefixtures("small_inputs")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_faces(tmp_path / "data", people=4, photos=5, status={"P01/P01_0002": Status.NO_FACE}).root


def everything(root: Path) -> list[Path]:
    return sorted(root.rglob("*"))


def test_it_says_what_the_run_takes_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.csv", people=4, photos=5)
    entry = {"name": "own", "data": str(data), "protocol": str(pairs), "every_epochs": 2}
    before = everything(tmp_path)
    config = run_config(data, training={"epochs": 5}, verification=[entry])
    text = rehearse(config, tmp_path / "run", resume=False).text()
    assert everything(tmp_path) == before
    lines = dict(line.split("  ", 1) for line in text.splitlines())
    lines = {name.strip(): line.strip() for name, line in lines.items()}
    assert list(lines) == ["run", "", "data", "own", "pace", "memory", "head", "an epoch", "in all", "disk"]
    assert lines[""].startswith("warning: own: the model was trained on 19 of these 20 photos: the numbers")
    assert "19 photos of 4 people, 5 epochs of 2 steps of 8 photos, from the start" in lines["run"]
    assert "arcface-112, centred-largest, rgb; 1 of 20 photos are left out" in lines["data"]
    assert lines["own"].startswith("32 pairs of 20 photos, all there; 3 times, ")  # after epochs 2, 4 and 5
    assert "mean of 8 warm steps" in lines["pace"]
    assert "with 4 classes" in lines["memory"]
    assert "for 10 steps" in lines["in all"]
    # 4 x 16 floats as weights, gradients and momentum; logits of 8 photos.
    assert lines["head"].startswith("0.0 MB in each process for 4 of 4 classes")
    assert lines["head"].endswith("0.0 MB for the logits of 8 photos")


def test_several_centres_a_class_take_several_times_the_memory(data: Path, tmp_path: Path) -> None:
    head = {"name": "subcenter_arcface", "centres_per_class": 10_000}
    text = rehearse(run_config(data, head=head), tmp_path / "run", resume=False).text()
    assert "1.3 MB for the logits of 8 photos" in text  # 8 photos x 4 classes x 10,000 centres x 4 bytes


def test_the_disk_it_names_is_what_training_writes(data: Path, tmp_path: Path) -> None:
    config = mobile_run_config(data, backbone={"embedding_dim": 128}, training={"epochs": 1})
    said = rehearse(config, tmp_path / "run", resume=False).text().splitlines()[-1]
    train(config, tmp_path / "run", resume=False)
    written_mb = checkpoint_path(tmp_path / "run").stat().st_size / 1e6
    checkpoint_mb = int(said.partition("a checkpoint of ")[2].partition(" MB")[0])
    assert checkpoint_mb == pytest.approx(written_mb, abs=1)
    with pytest.raises(InputError, match="must have steps left"):
        rehearse(config, tmp_path / "run", resume=True)
    longer = mobile_run_config(data, backbone={"embedding_dim": 128}, training={"epochs": 3})
    text = rehearse(longer, tmp_path / "run", resume=True).text()
    assert "from step 2" in text
    assert "for 4 steps" in text


def test_a_broken_checkpoint_and_a_broken_crop_are_refused(data: Path, tmp_path: Path) -> None:
    checkpoint_path(tmp_path / "run").parent.mkdir(parents=True)
    checkpoint_path(tmp_path / "run").touch()
    with pytest.raises(InputError, match="the checkpoint must be whole"):
        rehearse(run_config(data), tmp_path / "run", resume=False)
    shutil.rmtree(tmp_path / "run")
    broken = data / "crops/P02/P02_0003.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(InputError, match=broken.name):
        rehearse(run_config(data), tmp_path / "run", resume=False)


def test_a_verification_without_any_crop_is_refused(data: Path, tmp_path: Path) -> None:
    names = [f"P{person:02d}/P{person:02d}_{photo:04d}" for person in range(4) for photo in range(1, 6)]
    write_faces(tmp_path / "failed", people=4, photos=5, status=dict.fromkeys(names, Status.FAILED))
    pairs = write_pairs(tmp_path / "pairs.csv", people=4, photos=5)
    entry = {"name": "own", "data": str(tmp_path / "failed"), "protocol": str(pairs)}
    with pytest.raises(InputError, match=r"a crop of at least one photo .*; got 20 photos without a crop"):
        rehearse(run_config(data, verification=[entry]), tmp_path / "run", resume=False)


def test_a_loss_that_is_not_finite_stops_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = StepFigures(float("nan"), accuracy=0.0, all_negative=0.0, gradient_norm=1.0)
    monkeypatch.setattr(Learner, "compute_gradients", lambda *_, **__: figures)
    before = everything(tmp_path)
    with pytest.raises(InputError, match="must stay finite; got loss nan"):
        rehearse(run_config(data), tmp_path / "run", resume=False)
    assert everything(tmp_path) == before


def test_it_measures_a_few_steps_only(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_MEASURED_STEPS", 3)
    text = rehearse(run_config(data, training={"epochs": 99}), tmp_path / "run", resume=False).text()
    assert "mean of 3 warm steps" in text
    assert "for 198 steps" in text
