"""Photos kept from the training, and the head that a finished run keeps for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from small_faces import write_faces
from small_runs import checkpoint, run_config

from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.errors import InputError
from faceverif.models import MODEL_NAME, model_file, sealed_tensors
from faceverif.models.face_classifier import CLASSIFIER_NAME, load_face_classifier
from faceverif.models.model_file import load_stored_model, save_model, stored_sha256
from faceverif.models.sealed_tensors import tensors_sha256
from faceverif.training.data import TrainingPhotos, load_training_photos
from faceverif.training.loop import train

pytestmark = pytest.mark.usefixtures("small_inputs")

HEAD = {"head": {"name": "softmax"}, "penalties": [{"name": "center", "weight": 0.1}]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people with five photos, one of whom has only two that show a face."""
    hidden = {f"P03/P03_000{photo}": Status.NO_FACE for photo in (1, 2, 4)}
    return write_faces(tmp_path_factory.mktemp("data"), people=4, photos=5, status=hidden).root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    config = run_config(data, data={"held_out_per_identity": 2}, training={"epochs": 1}, **HEAD)
    train(config, folder, resume=False)
    return folder


def photos_of(data: Path, *, seed: int = 0, **settings: int) -> TrainingPhotos:
    return load_training_photos(run_config(data, data=settings).data, input_px=32, seed=seed)


def test_of_everybody_with_enough_photos_some_are_held_out(data: Path) -> None:
    photos, plain = photos_of(data, held_out_per_identity=2), photos_of(data)
    identity = AlignedDataset.load(data).column("identity")
    assert sorted(identity[photos.held_out]) == ["P00"] * 2 + ["P01"] * 2 + ["P02"] * 2
    assert sorted([*photos.rows, *photos.held_out]) == plain.rows.tolist()
    assert photos.identities == plain.identities == ("P00", "P01", "P02", "P03")
    assert [photos.identities[label] for label in photos.labels] == identity[photos.rows].tolist()
    assert len(plain.held_out) == 0
    # The rule counts what must be left to train on.
    assert len(photos_of(data, min_photos_per_identity=2, held_out_per_identity=3).held_out) == 9
    with pytest.raises(InputError, match=r"one person or more must have 6 aligned photos.*got at most 5"):
        photos_of(data, min_photos_per_identity=2, held_out_per_identity=4)


def test_the_seed_chooses_what_is_held_out(data: Path) -> None:
    chosen = [photos_of(data, seed=seed, held_out_per_identity=2).held_out.tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_a_run_keeps_its_head_and_knows_its_photos(data: Path, run: Path) -> None:
    classifier = load_face_classifier(run)
    objective = checkpoint(run)["objective"]
    assert classifier.objective.state_dict().keys() == objective.keys()
    for name, tensor in classifier.objective.state_dict().items():
        torch.testing.assert_close(tensor, objective[name], rtol=0, atol=0)
    assert not any(part.training for part in (classifier.network, classifier.objective))
    trained, held_out = classifier.images()
    assert (len(trained), len(held_out)) == (11, 6)
    identity = AlignedDataset.load(data).column("identity")[held_out.rows]
    assert [classifier.class_names[label] for label in held_out.labels] == identity.tolist()
    provenance = json.loads((run / "provenance.json").read_text())
    assert (provenance["data"]["photos"], provenance["data"]["held_out"]) == (11, 6)


def test_loading_hashes_each_file_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []

    def counted(tensors: Mapping[str, torch.Tensor]) -> str:
        hashed.append(len(tensors))
        return tensors_sha256(tensors)

    for module in (sealed_tensors, model_file):
        monkeypatch.setattr(module, "tensors_sha256", counted)
    load_face_classifier(run)
    assert len(hashed) == 2


@pytest.mark.parametrize("stored_as", [None, torch.float16])
def test_a_stored_model_has_the_hash_of_its_network(
    run: Path, tmp_path: Path, stored_as: torch.dtype | None
) -> None:
    whole = load_stored_model(run / MODEL_NAME)
    path = tmp_path / MODEL_NAME
    about = {"backbone_config": whole.config.model_dump(mode="json"), "spec": whole.embedder.spec}
    save_model(path, whole.embedder.backbone, **about, provenance={}, stored_as=stored_as)
    stored = load_stored_model(path)
    assert stored.sha256 == stored.embedder.sha256 == stored_sha256(path)
    assert (stored.sha256 == whole.sha256) == (stored_as is None)


def test_images_are_what_the_embedder_sees(run: Path) -> None:
    classifier = load_face_classifier(run)
    _, held_out = classifier.images()
    images = held_out.read(torch.tensor([3, 0]))
    assert images.shape == (2, 3, 32, 32)
    crops = held_out.dataset.crops.read(held_out.rows[[3, 0]])
    with torch.no_grad():
        embeddings = classifier.network(images.float() / 255)
    np.testing.assert_allclose(embeddings.numpy(), classifier.embedder.embed(crops), atol=1e-5)


def test_an_older_run_gets_its_head_from_its_checkpoint(data: Path, run: Path) -> None:
    whole = (run / CLASSIFIER_NAME).read_bytes()
    (run / CLASSIFIER_NAME).unlink()
    with pytest.raises(InputError, match=rf"by an older version\. Run: faceverif train {run}/config\.yaml"):
        load_face_classifier(run)
    config = run_config(data, data={"held_out_per_identity": 2}, training={"epochs": 1}, **HEAD)
    train(config, run, resume=True)
    assert (run / CLASSIFIER_NAME).read_bytes() == whole


def test_an_imported_model_has_no_head(run: Path, tmp_path: Path) -> None:
    shutil.copy(run / MODEL_NAME, tmp_path)
    with pytest.raises(
        InputError, match=r"^--model: .* imported, .* Fit one to photos of your people: faceverif fit-head"
    ):
        load_face_classifier(tmp_path)


def test_files_that_do_not_belong_together_are_refused(data: Path, run: Path, tmp_path: Path) -> None:
    other = write_faces(tmp_path / "other", people=4, photos=5).root
    with pytest.raises(InputError, match="must be the data set that the run was trained on"):
        load_face_classifier(run).images(data=other)
    train(run_config(data, training={"epochs": 1}, seed=8), tmp_path / "run", resume=False)
    mixed = tmp_path / "run" / CLASSIFIER_NAME
    mixed.write_bytes((run / CLASSIFIER_NAME).read_bytes())
    with pytest.raises(InputError, match=r"it belongs to another model\.safetensors"):
        load_face_classifier(tmp_path / "run")


def test_the_description_is_json(run: Path) -> None:
    with safe_open(run / CLASSIFIER_NAME, framework="pt") as file:
        about = json.loads(file.metadata()["faceverif.face_classifier"])
    assert about["class_names"] == ["P00", "P01", "P02", "P03"]
    assert about["config"]["head"]["name"] == "softmax"
