"""Finished runs: their model and their clean images. Each kind of run has one small loader."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import InputError
from faceverif.classification.data import load_image_sets
from faceverif.classification.trained import MODEL_NAME, load_classifier
from faceverif.images.base import LabelledImages
from faceverif.models import PreprocessingSpec
from faceverif.models.face_classifier import CLASSIFIER_NAME, load_face_classifier
from faceverif.models.model_file import holds_face_model
from robustness.attacked_model import AttackedModel


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
        """Whether both take the same images and, if `classes`, have the same number of classes."""
        same = self.model.head.classes == other.model.head.classes or not classes
        return same and self.spec == other.spec and self.unseen.shape == other.unseen.shape


def load_run(run: Path, *, data_path: Path | None = None) -> LoadedRun:
    """The model and images of a run; its model file says which kind of run it is.

    Args:
        run: a folder by `faceverif classify` or `faceverif train`.
        data_path: where the images are now; None: where the run was trained from.

    Raises:
        InputError: no finished run, a face run without its head, or its images are not there.
    """
    return _face_run(run, data_path) if holds_face_model(run) else _classification_run(run, data_path)


def _classification_run(run: Path, data_path: Path | None) -> LoadedRun:
    trained = load_classifier(run)
    data = trained.config.data
    if data_path is not None:
        data = data.model_copy(update={"path": data_path})
    model = AttackedModel(trained.network, trained.objective)
    return LoadedRun(model, *load_image_sets(data, trained.config.seed))


def _face_run(run: Path, data_path: Path | None) -> LoadedRun:
    classifier = load_face_classifier(run)
    model = AttackedModel(classifier.network, classifier.objective)
    return LoadedRun(model, *classifier.images(data=data_path), spec=classifier.spec)


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
    return hashlib.sha256((path if path.is_file() else run / MODEL_NAME).read_bytes()).hexdigest()
