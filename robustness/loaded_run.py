"""Finished runs: their model and their clean images. Each kind of run has one small loader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data_prep.dataset.manifest import Status
from data_prep.dataset.packed import load_aligned
from data_prep.device import computing_device
from data_prep.errors import InputError
from data_prep.file_hash import file_hash
from faceverif.classification.data import load_image_sets
from faceverif.classification.trained import load_classifier
from faceverif.images.base import LabelledImages
from faceverif.images.faces import FaceImages
from faceverif.models import PreprocessingSpec, load_model
from faceverif.models.face_classifier import CLASSIFIER_NAME, FaceClassifier, load_face_classifier
from faceverif.models.location import MODEL_NAME
from faceverif.models.model_file import holds_face_model
from robustness.attacked_model import AttackedModel
from robustness.no_head import NoObjective


@dataclass(frozen=True)
class LoadedRun:
    """A model and its clean images.

    Attributes:
        model: in evaluation mode.
        trained_on: its training images.
        unseen: images of the same classes that were not trained on.
        spec: the crops that a face model takes; None for an image classifier.
    """

    model: AttackedModel
    trained_on: LabelledImages
    unseen: LabelledImages
    spec: PreprocessingSpec | None = None

    def sees_as(self, other: LoadedRun, *, classes: bool) -> bool:
        """Whether both take the same images and, if `classes`, know the same classes in the same order."""
        same = self.unseen.class_names == other.unseen.class_names or not classes
        return same and self.spec == other.spec and self.unseen.shape == other.unseen.shape


def load_run(
    run: Path, *, data_path: Path | None = None, fit_data: Path | None = None, otherwise: str = ""
) -> LoadedRun:
    """The model and images of a run; its model file says which kind of run it is.

    Args:
        run: a folder by `faceverif classify`, `faceverif train`, `faceverif fit-head` or `faceverif import`.
        data_path: where the images are now; None: where the run was trained from.
        fit_data: aligned photos that stand for the training images of a model without a head.
        otherwise: for the error about a missing head: what goes on without one.

    Raises:
        InputError: no finished run, a face model without a head where no `fit_data` are given, or its images
            are not there.
    """
    if not holds_face_model(run):
        return _classification_run(run, data_path)
    if fit_data is not None and not (run / CLASSIFIER_NAME).is_file():
        return _headless(run, fit_data)
    classifier = load_face_classifier(run, otherwise=otherwise)
    return LoadedRun(_attacked(classifier), *classifier.images(data=data_path), spec=classifier.spec)


def _classification_run(run: Path, data_path: Path | None) -> LoadedRun:
    trained = load_classifier(run)
    data = trained.config.data
    if data_path is not None:
        data = data.model_copy(update={"path": data_path})
    model = AttackedModel(trained.network, trained.objective).to(computing_device())
    return LoadedRun(model, *load_image_sets(data, trained.config.seed))


def load_without_photos(run: Path) -> tuple[AttackedModel, PreprocessingSpec]:
    """The model of a face run and the crops that it takes, without its photos: they may be elsewhere.

    Raises:
        InputError: no finished face run.
    """
    classifier = load_face_classifier(run)
    return _attacked(classifier), classifier.spec


def _attacked(classifier: FaceClassifier) -> AttackedModel:
    return AttackedModel(classifier.network, classifier.objective).to(computing_device())


def _headless(run: Path, fit_data: Path) -> LoadedRun:
    """A model that knows nobody: its detectors are fitted on other people's photos."""
    embedder, dataset = load_model(run / MODEL_NAME), load_aligned(fit_data)
    embedder.spec.refuse_other(dataset.header)
    embedder.backbone.eval().requires_grad_(False)
    objective = NoObjective(embedding_dim=embedder.embedding_dim).eval()
    rows = dataset.with_status(Status.ALIGNED)
    _, people = np.unique(dataset.column("identity")[rows].astype(str), return_inverse=True)
    px = embedder.spec.input_px
    return LoadedRun(
        AttackedModel(embedder.backbone, objective).to(computing_device()),
        trained_on=FaceImages(dataset, rows, torch.from_numpy(people), (), px),
        unseen=FaceImages.of_strangers(dataset, rows[:0], input_px=px),
        spec=embedder.spec,
    )


def run_sha256(run: Path) -> str:
    """Hash of a run's model file; of a face run that of its head's, which names the hash of the backbone.

    Raises:
        InputError: there is no finished run.
    """
    if not (run / MODEL_NAME).is_file():
        raise InputError(
            "models.runs",
            f"must be folders of finished runs, with a {MODEL_NAME}",
            got=run,
            fix="Train them first: faceverif train, faceverif classify, or faceverif experiment.",
        )
    path = run / CLASSIFIER_NAME
    return file_hash(path if path.is_file() else run / MODEL_NAME)
