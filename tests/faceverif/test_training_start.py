"""A run refines another: backbone and class weights, where both have them and know the same people."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_faces import write_faces
from small_runs import checkpoint, run_config

from data_prep.dataset.manifest import AlignedDataset, write_manifest
from data_prep.errors import InputError
from faceverif.models import MODEL_NAME, load_model
from faceverif.training.checkpoint import checkpoint_path
from faceverif.training.loop import TrainingRun, prepare, train

pytestmark = pytest.mark.usefixtures("small_inputs")

W_SOFTMAX = {"name": "wsoftmax", "alpha": 1.0}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of data and of a finished run with softmax."""
    root = tmp_path_factory.mktemp("first")
    write_faces(root / "data", people=4, photos=5)
    train(
        run_config(root / "data", head={"name": "softmax"}, training={"epochs": 1}),
        root / "run",
        resume=False,
    )
    return root


def begun(first: Path, run: Path, *, data: Path | None = None, **sections: Any) -> TrainingRun:
    training = {"start_from": str(first / "run")} | sections.pop("training", {})
    config = run_config(data or first / "data", **({"head": W_SOFTMAX} | sections), training=training)
    return prepare(config, run, resume=False)


def test_it_starts_at_what_was_exported_and_at_its_class_weights(first: Path, tmp_path: Path) -> None:
    learner = begun(first, tmp_path / "run").learner
    exported = load_model(first / "run" / MODEL_NAME).backbone.state_dict()
    own = learner.network.backbone.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in exported.items())
    weights = checkpoint(first / "run")["objective"]["head.weight"]
    assert torch.equal(learner.network.objective.head.get_parameter("weight"), weights)
    averaged = learner.result.state_dict()
    assert all(torch.equal(averaged[name], tensor) for name, tensor in exported.items())


def test_class_weights_of_other_people_or_another_shape_are_left(first: Path, tmp_path: Path) -> None:
    weights = checkpoint(first / "run")["objective"]["head.weight"]
    other = write_faces(tmp_path / "other", people=5, photos=4).root
    # As many people, but P01 to P04.
    kept = begun(first, tmp_path / "run", data=without_first(other, tmp_path / "four"))
    assert kept.photos.identities == ("P01", "P02", "P03", "P04")
    assert not torch.equal(kept.learner.network.objective.head.get_parameter("weight"), weights)
    assert kept.folder.provenance["start_from"]["class_weights"] is False
    means = begun(first, tmp_path / "run", head={"name": "lgm", "alpha": 0.01})  # means are no class weights
    assert means.folder.provenance["start_from"]["class_weights"] is False


def test_a_head_of_the_same_kind_starts_with_all_that_it_had_learnt(first: Path, tmp_path: Path) -> None:
    earlier = checkpoint(first / "run")["objective"]
    assert earlier["head.bias"].any()
    run = begun(first, tmp_path / "run", head={"name": "softmax"})
    assert torch.equal(run.learner.network.objective.head.get_parameter("bias"), earlier["head.bias"])
    # Where the photos say where the classes are, nothing of the earlier head is left.
    centred = {"head": {"name": "softmax"}, "training": {"start_centres": "class_means"}}
    run = begun(first, tmp_path / "run", **centred)
    assert not run.learner.network.objective.head.get_parameter("bias").any()
    assert run.folder.provenance["start_from"]["class_weights"] is False


def test_centres_of_several_a_class_start_at_the_single_ones(first: Path, tmp_path: Path) -> None:
    """As many a class as there are classes: the shapes would broadcast."""
    several = {"name": "subcenter_arcface", "centres_per_class": 4}
    run = begun(first, tmp_path / "run", head=several)
    weights = checkpoint(first / "run")["objective"]["head.weight"]
    own = run.learner.network.objective.head.get_parameter("weight")
    assert torch.equal(own[:, 0], weights)
    assert not torch.equal(own[:, 1], weights)
    assert run.folder.provenance["start_from"]["class_weights"] is True


def without_first(folder: Path, out: Path) -> Path:
    dataset = AlignedDataset.load(folder)
    shutil.copytree(folder, out)
    write_manifest(
        out, dataset.header, [row for row in dataset.table.to_pylist() if row["identity"] != "P00"]
    )
    return out


def test_the_start_stays_in_the_provenance_and_is_not_needed_again(first: Path, tmp_path: Path) -> None:
    copy, run = tmp_path / "copy", tmp_path / "run"
    shutil.copytree(first / "run", copy / "run")
    shutil.copytree(first / "data", copy / "data")
    settings = {"head": W_SOFTMAX, "training": {"start_from": str(copy / "run"), "epochs": 1}}
    train(run_config(copy / "data", **settings), run, resume=False)
    shutil.rmtree(copy / "run")
    settings["training"]["epochs"] = 2
    train(run_config(copy / "data", **settings), run, resume=True)
    start = json.loads((run / "provenance.json").read_text())["start_from"]
    assert start == {
        "run": str(copy / "run"),
        "model_sha256": load_model(first / "run" / MODEL_NAME).sha256,
        "class_weights": True,
        "training_sets": [AlignedDataset.load(first / "data").sha256],
    }


def test_what_cannot_be_refined_is_refused(first: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"training\.start_from: must be a run with the same backbone"):
        begun(first, tmp_path / "run", backbone={"embedding_dim": 24})
    pixels = r"must be a model that takes pixels as .* mean \[0\.5, 0\.5, 0\.5\] and std \[0\.5, 0\.5, 0\.5\]"
    with pytest.raises(InputError, match=pixels):
        begun(first, tmp_path / "run", backbone={"pixel_mean": [0.0, 0.0, 0.0]})
    with pytest.raises(InputError, match=r"training\.start_from: .* finished training run"):
        begun(first, tmp_path / "run", training={"start_from": str(tmp_path)})
    shutil.copytree(first / "run", tmp_path / "first")
    checkpoint_path(tmp_path / "first").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match=r"training\.start_from: the checkpoint must be whole.* move it"):
        begun(first, tmp_path / "run", training={"start_from": str(tmp_path / "first")})
    checkpoint_path(tmp_path / "first").unlink()  # the exported model is enough
    alone = begun(first, tmp_path / "run", training={"start_from": str(tmp_path / "first")})
    assert alone.folder.provenance["start_from"]["class_weights"] is False


def test_a_run_on_other_crops_is_refused(first: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "wider", people=4, photos=5, template="arcface-128")
    same_crops = r"training\.start_from: must be a run on the same crops: "
    with pytest.raises(InputError, match=same_crops + r"arcface-128 .* rgb, input_px 32; got .* arcface-112"):
        begun(first, tmp_path / "run", data=tmp_path / "wider")
    with pytest.raises(InputError, match=same_crops + r".* input_px 48; got .* input_px 32"):
        begun(first, tmp_path / "run", backbone={"input_px": 48})


def test_a_disk_without_room_for_a_checkpoint_is_refused_before_the_first_epoch(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = tmp_path / "run", run_config(first / "data", training={"epochs": 1})
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2))
    rule = f"--run: must have room for a checkpoint, .* MB or more; got 0.0 MB free in {run}"
    with pytest.raises(InputError, match=rule):
        train(config, run, resume=False)
    assert not run.exists()
