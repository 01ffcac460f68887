"""A head fitted to the frozen embeddings of a finished model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_faces import write_faces
from small_runs import run_config

from data_prep.alignment import find_template
from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from faceverif.backbones import build_backbone
from faceverif.config.fitted_head import fitted_head_config
from faceverif.config.objective import ObjectiveConfig
from faceverif.config.reading import validate_config
from faceverif.heads import HEADS
from faceverif.heads.lgm import LGMHead
from faceverif.heads.moments import ClassMoments
from faceverif.models import MODEL_NAME, PreprocessingSpec, save_model
from faceverif.models.face_classifier import CLASSIFIER_NAME, load_face_classifier
from faceverif.objective import Objective
from faceverif.penalties import PENALTIES, EmbeddedBatch, Lesson
from faceverif.training.data import load_training_photos
from faceverif.training.fit_head import fit_head
from faceverif.training.loop import prepare
from faceverif.verification.embeddings import EmbeddedPhotos, embed_dataset

pytestmark = pytest.mark.usefixtures("small_inputs")

PEOPLE, PHOTOS, DIM = 4, 6, 8
FEW = ["data.min_photos_per_identity=2", "data.held_out_per_identity=2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("data"), people=PEOPLE, photos=PHOTOS).root


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder without a head, as `faceverif import` leaves it."""
    folder = tmp_path_factory.mktemp("model")
    settings = {"backbone": {"name": "iresnet", "depth": 18, "width": 8, "embedding_dim": DIM}}
    config = run_config(data, **settings).backbone
    torch.manual_seed(0)
    save_model(
        folder / MODEL_NAME,
        build_backbone(config).eval(),
        backbone_config=config.model_dump(mode="json"),
        spec=PreprocessingSpec.of(find_template("arcface-112"), input_px=config.input_px),
        provenance={"imported": {"file": "elsewhere.pth"}},
    )
    return folder


def fitted(model: Path, data: Path, run: Path, head: str = "lgm", *overrides: str) -> Any:
    return fit_head(model, fitted_head_config(head, data=str(data), overrides=[*FEW, *overrides]), run)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_learns_the_people(model: Path, data: Path, tmp_path: Path, head: str) -> None:
    short = [] if head == "lgm" else ["fit.epochs=10"]
    found = fitted(model, data, tmp_path / "run", head, *short)
    assert (found.people, found.trained, found.held_out) == (PEOPLE, PEOPLE * (PHOTOS - 2), PEOPLE * 2)
    assert found.accuracy == 1.0
    assert found.unseen_accuracy is not None
    assert found.unseen_accuracy > 0.8
    assert "100.0 % on the 16 photos" in found.text()


def test_a_model_without_a_head_says_how_to_get_one(model: Path) -> None:
    with pytest.raises(InputError, match=rf"faceverif fit-head --model {model} --data ALIGNED --out RUN"):
        load_face_classifier(model)


def test_the_run_keeps_the_model_and_which_photos_it_knows(model: Path, data: Path, tmp_path: Path) -> None:
    fitted(model, data, tmp_path / "run")
    assert (tmp_path / "run" / MODEL_NAME).read_bytes() == (model / MODEL_NAME).read_bytes()
    classifier = load_face_classifier(tmp_path / "run")
    trained, held_out = classifier.images()
    assert len(held_out) == 2 * PEOPLE
    assert not set(trained.rows) & set(held_out.rows)
    identity = AlignedDataset.load(data).column("identity")
    assert [classifier.class_names[label] for label in held_out.labels] == identity[held_out.rows].tolist()
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert provenance["model"]["provenance"] == {"imported": {"file": "elsewhere.pth"}}
    assert provenance["data"]["held_out"] == 2 * PEOPLE


@pytest.mark.parametrize("covariance", ["identity", "isotropic", "diagonal", "shared"])
def test_lgm_is_the_gaussians_of_maximum_likelihood(
    model: Path, data: Path, tmp_path: Path, covariance: str
) -> None:
    fitted(model, data, tmp_path / "run", "lgm", f"head.covariance={covariance}")
    classifier = load_face_classifier(tmp_path / "run")
    trained, _ = classifier.images()
    x = embed_dataset(classifier.embedder, trained.dataset, trained.rows, flip=False).astype(np.float64)
    labels = trained.labels.numpy()
    means = np.stack([x[labels == label].mean(axis=0) for label in range(PEOPLE)])
    about = x - means[labels]
    within = {
        "identity": np.eye(DIM),
        "isotropic": np.eye(DIM) * np.square(about).mean(),
        "diagonal": np.diag(np.square(about).mean(axis=0)),
        "shared": about.T @ about / len(x),
    }[covariance]
    away = x[:, None] - means
    distances = np.einsum("nkd,de,nke->nk", away, np.linalg.inv(within), away)
    expected = -0.5 * distances - 0.5 * np.linalg.slogdet(within)[1]
    logits = classifier.objective.head.logits(torch.from_numpy(x).float()).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-2)


def test_epochs_raise_the_likelihood_of_the_labels(model: Path, data: Path, tmp_path: Path) -> None:
    fitted(model, data, tmp_path / "start", "cosface", "fit.epochs=0")
    fitted(model, data, tmp_path / "end", "cosface", "fit.epochs=20")
    losses = []
    for run in ("start", "end"):
        classifier = load_face_classifier(tmp_path / run)
        trained, _ = classifier.images()
        x = torch.from_numpy(embed_dataset(classifier.embedder, trained.dataset, trained.rows, flip=False))
        losses.append(classifier.objective(x, trained.labels).loss.item())
    assert losses[1] < 0.9 * losses[0]


def test_the_same_seed_gives_the_same_head(model: Path, data: Path, tmp_path: Path) -> None:
    for run in ("one", "two"):
        fitted(
            model, data, tmp_path / run, "softmax", "fit.epochs=2", "penalties=[{name: gsc, weight: 0.02}]"
        )
    one, two = ((tmp_path / run / CLASSIFIER_NAME).read_bytes() for run in ("one", "two"))
    assert one == two


def test_means_of_a_training_start_at_the_data(model: Path, data: Path, tmp_path: Path) -> None:
    config = run_config(
        data,
        backbone={"name": "iresnet", "depth": 18, "width": 8, "embedding_dim": DIM},
        head={"name": "lgm", "alpha": 0.1, "covariance": "shared", "means": "from_data"},
        training={"start_from": str(model)},
    )
    training = prepare(config, tmp_path / "run")
    head = training.learner.network.objective.head
    assert isinstance(head, LGMHead)
    photos = load_training_photos(config.data, input_px=config.backbone.input_px, seed=config.seed)
    moments = photos.class_moments(EmbeddedPhotos(training.embedder(), photos.dataset, flip=False))
    torch.testing.assert_close(head.means.double(), moments.means, atol=1e-5, rtol=1e-4)
    assert head.whitening is not None
    precision = (head.whitening @ head.whitening.T).double()
    torch.testing.assert_close(precision @ moments.within, torch.eye(DIM).double(), atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    ("head", "overrides", "said"),
    [
        (
            "lgm",
            ["penalties=[{name: likelihood, weight: 0.1}]"],
            r"penalties: has no effect without epochs.*fit\.epochs of 0, the default of lgm",
        ),
        ("lgm", ["criterion={name: focal}"], r"criterion: has no effect without epochs"),
        ("cosface", ["fit.epochs=0", "fit.learning_rate=0.1"], r"fit\.learning_rate: .*fit\.epochs of 0"),
        ("lgm", ["fit.batch_size=7"], r"fit\.batch_size: has no effect without epochs"),
        ("softmax", ["head.probe=true"], r"head\.probe: must be false here"),
        ("lgm", ["data.min_photos_per_identity=20"], r"two people or more with 20 aligned photos each"),
        ("nobody", [], r"head.*nobody"),
        ("cosface", ["fit.epochs=-1"], r"fit\.epochs"),
    ],
)
def test_what_cannot_be_fitted_is_said(
    model: Path, data: Path, tmp_path: Path, head: str, overrides: list[str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        fitted(model, data, tmp_path / "run", head, *overrides)
    assert not (tmp_path / "run").exists()


def reaches_the_head(penalty: dict[str, Any], head: dict[str, Any]) -> bool:
    """Whether a penalty leaves a gradient at a head where the embeddings are fixed."""
    settings = {"head": head, "penalties": [penalty]}
    torch.manual_seed(0)
    objective = Objective(
        validate_config(ObjectiveConfig, settings, source="test"), classes=PEOPLE, embedding_dim=DIM
    )
    x, labels = torch.randn(16, DIM), torch.arange(PEOPLE).repeat(4)
    for _ in range(2):  # SNR's thresholds follow from the batch before
        lesson = Lesson(torch.randn(16, DIM))
        batch = EmbeddedBatch(x, labels, objective.head(x, labels), objective.head, lesson)
        value = objective.penalties[0](batch).mean()
    if not value.requires_grad:
        return False
    gradients = torch.autograd.grad(value, list(objective.head.parameters()), allow_unused=True)
    return any(each is not None and each.any() for each in gradients)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_penalties_that_reach_no_head_are_refused(penalty: str) -> None:
    head = {"magnitude": "magface", "likelihood": "lgm"}.get(penalty, "softmax")
    section = {"name": penalty, "weight": 1} | ({"update": "batch"} if penalty == "snr" else {})
    overrides = [f"penalties={json.dumps([section])}", "fit.epochs=1"]
    if reaches_the_head(section, {"name": head} | ({"alpha": 0.1} if head == "lgm" else {})):
        assert fitted_head_config(head, data="data", overrides=overrides).penalties[0].name == penalty
    else:
        with pytest.raises(InputError, match=rf"penalties\.0\.name: {penalty} changes embeddings"):
            fitted_head_config(head, data="data", overrides=overrides)


def test_a_shared_covariance_needs_photos(model: Path, tmp_path: Path) -> None:
    few = write_faces(tmp_path / "few", people=3, photos=4).root
    with pytest.raises(InputError, match=r"shared needs 11 photos or more.*got 6\..*covariance: diagonal"):
        fitted(model, few, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("covariance", ["identity", "isotropic", "diagonal", "shared"])
def test_a_dimension_that_does_not_vary_is_no_trouble_for_lgm(covariance: Any) -> None:
    """A ReLU that is dead, or a pruned unit."""
    torch.manual_seed(0)
    labels = torch.arange(3).repeat(20)
    embeddings = 5.0 * torch.eye(3, 6)[labels] + torch.randn(60, 6)
    embeddings[:, 4] = 0.0
    embeddings[:, 5] = 7.0
    head = LGMHead(classes=3, embedding_dim=6, alpha=0.0, covariance=covariance)
    head.start_at(ClassMoments.of(embeddings, labels))
    logits = head.logits(embeddings)
    assert logits.isfinite().all()
    assert (logits.argmax(dim=1) == labels).double().mean() > 0.9


@pytest.mark.parametrize("covariance", ["isotropic", "diagonal", "shared"])
@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_classes_that_are_points_have_no_covariance(covariance: Any, noise: float) -> None:
    torch.manual_seed(0)
    labels = torch.arange(3).repeat(20)
    embeddings = torch.randn(3, 4)[labels] * (1 + noise * torch.randn(60, 4))
    head = LGMHead(classes=3, embedding_dim=4, alpha=0.0, covariance=covariance)
    with pytest.raises(InputError, match=rf"head\.covariance: {covariance} needs embeddings that differ"):
        head.start_at(ClassMoments.of(embeddings, labels))


def test_a_head_whose_logits_are_not_finite_is_not_written(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LGMHead, "start_at", lambda head, moments: head.means.data.fill_(float("inf")))
    with pytest.raises(InputError, match=r"head: logits must be finite"):
        fitted(model, data, tmp_path / "run")
    assert not (tmp_path / "run" / CLASSIFIER_NAME).exists()


def test_an_onnx_file_is_imported_first(data: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(InputError, match=r"--model: must be the folder of a run .*import .*model\.onnx"):
        fitted(tmp_path / "model.onnx", data, tmp_path / "run")


def test_other_crops_and_a_full_folder_are_refused(model: Path, data: Path, tmp_path: Path) -> None:
    larger = write_faces(tmp_path / "larger", people=3, photos=4, template="arcface-128").root
    with pytest.raises(InputError, match=r"crops must be what the model was made for: arcface-112"):
        fitted(model, larger, tmp_path / "run")
    with pytest.raises(InputError, match=r"--out: must not hold a model yet"):
        fitted(model, data, model)


def test_means_from_data_need_a_start(data: Path) -> None:
    from faceverif.classification.config import ClassificationConfig

    head = {"name": "lgm", "alpha": 0.1, "means": "from_data"}
    with pytest.raises(InputError, match=r"head\.means: from_data needs training\.start_from"):
        run_config(data, head=head)
    settings = {
        "head": head,
        "data": {"name": "digits"},
        "network": {"name": "lenet5"},
        "optimizer": {"name": "sgd", "learning_rate": 0.1},
        "schedule": {"name": "cosine"},
        "training": {"epochs": 1},
    }
    with pytest.raises(InputError, match=r"head\.means: must be random"):
        validate_config(ClassificationConfig, settings, source="test")
