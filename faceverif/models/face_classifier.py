"""A face model as a classifier of its people: its backbone, and the head trained with it or fitted to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn

from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.dataset.packed import load_aligned
from data_prep.errors import InputError
from data_prep.printed_command import printed_command
from faceverif.config.paths import how_to_finish, require_path
from faceverif.config.reading import validate_config
from faceverif.config.run import ClassifierConfig
from faceverif.file_names import CONFIG_NAME
from faceverif.images.faces import FaceImages
from faceverif.models import MODEL_NAME, PreprocessingSpec, TorchEmbedder
from faceverif.models.location import MODEL_OPTION
from faceverif.models.model_file import load_stored_model
from faceverif.models.sealed_tensors import ModelFormat, below
from faceverif.objective import Objective

CLASSIFIER_NAME = "classifier.safetensors"
_FILES = ModelFormat("faceverif.face_classifier", command="faceverif train", run="training run")
_TRAINED, _HELD_OUT = "photos.trained", "photos.held_out"
_OBJECTIVE = "objective."
_IF_MOVED = (
    "If the photos moved, name their folder by `calibrate-rejection --trained-on` or data_path of `reject`."
)


@dataclass(frozen=True)
class PhotoRows:
    """Photos of the training people, as rows of their data set's manifest.

    Attributes:
        data_sha256: of the manifest.
        trained: (photos,) int64, trained on.
        held_out: (photos,) int64, kept from the training.
    """

    data_sha256: str
    trained: NDArray[np.int64]
    held_out: NDArray[np.int64]


@dataclass(frozen=True)
class FaceClassifier:
    """A face run in evaluation mode, on the CPU; no gradient reaches its weights.

    The backbone is that of the model file, the moving average if the run kept one; the head is from the last
    step.

    Attributes:
        embedder: the run's model.
        objective: head, criterion and penalties with their learnt state, such as centers.
        config: of the head.
        class_names: people, in the order of the logits.
        photos: of these people.
    """

    embedder: TorchEmbedder
    objective: Objective
    config: ClassifierConfig
    class_names: tuple[str, ...]
    photos: PhotoRows

    @property
    def network(self) -> nn.Module:
        """Pixels in [0, 1] -> raw embeddings."""
        return self.embedder.backbone

    @property
    def spec(self) -> PreprocessingSpec:
        """The crops that it takes."""
        return self.embedder.spec

    def images(self, *, data: Path | None = None) -> tuple[FaceImages, FaceImages]:
        """The photos trained on and those held out, labelled with their classes.

        Args:
            data: where the aligned data set is now; None: where the run was trained from.

        Raises:
            InputError: no data set there, another one than the run was trained on, or one without these rows.
        """
        place = data or self.config.data.path
        require_path(place, field="data.path of the run", advice=_IF_MOVED)
        dataset = load_aligned(place)
        if dataset.sha256 != self.photos.data_sha256:
            raise InputError(
                "data",
                f"must be the data set that the run was trained on ({self.photos.data_sha256[:12]})",
                got=f"{dataset.root} ({dataset.sha256[:12]})",
                fix=_IF_MOVED,
            )
        self._refuse_foreign_rows(dataset)
        trained, held_out = (
            FaceImages(dataset, rows, self._labels(dataset, rows), self.class_names, self.spec.input_px)
            for rows in (self.photos.trained, self.photos.held_out)
        )
        return trained, held_out

    def _refuse_foreign_rows(self, dataset: AlignedDataset) -> None:
        """Refuse rows that the manifest does not have, without a crop, or of somebody who is no class."""
        rows = np.concatenate([self.photos.trained, self.photos.held_out])
        inside = rows[rows < len(dataset)]
        usable = (dataset.column("status")[inside] != Status.FAILED.value) & np.isin(
            dataset.column("identity")[inside].astype(str), self.class_names
        )
        if len(inside) != len(rows) or not usable.all() or len(np.unique(rows)) != len(rows):
            raise InputError(
                MODEL_OPTION,
                f"the photos that {CLASSIFIER_NAME} names must be rows of its data set, each once",
                got=f"{len(rows):,} rows, {int(usable.sum()):,} of them usable, of {len(dataset):,} photos",
                fix=f"Copy {CLASSIFIER_NAME} again from where it was trained.",
            )

    def _labels(self, dataset: AlignedDataset, rows: NDArray[np.int64]) -> Tensor:
        number = {name: label for label, name in enumerate(self.class_names)}
        return torch.tensor([number[name] for name in dataset.column("identity")[rows]], dtype=torch.int64)


def save_face_classifier(
    run: Path,
    objective_state: Mapping[str, Tensor],
    *,
    config: ClassifierConfig,
    class_names: tuple[str, ...],
    photos: PhotoRows,
    model_sha256: str,
) -> None:
    """Write RUN/classifier.safetensors whole or not at all: tensors and their description.

    Args:
        run: its folder.
        objective_state: of the objective as it was trained, with all classes.
        config: of the run.
        class_names: in the order of the logits.
        photos: of these people.
        model_sha256: of the weights in the run's model file, to which the head belongs.
    """
    about = {
        "config": config.model_dump(mode="json"),
        "class_names": list(class_names),
        "data_sha256": photos.data_sha256,
        "model_sha256": model_sha256,
    }
    state = {_OBJECTIVE + name: tensor for name, tensor in objective_state.items()}
    state |= {_TRAINED: torch.from_numpy(photos.trained), _HELD_OUT: torch.from_numpy(photos.held_out)}
    _FILES.write(run / CLASSIFIER_NAME, state, about)


def load_face_classifier(run: Path, *, otherwise: str = "") -> FaceClassifier:
    """The classifier of a finished run; loading runs no code from its files.

    Args:
        run: a folder by `faceverif train`.
        otherwise: for the error: what goes on without a head.

    Raises:
        InputError: no finished run, one without its head, or files that do not belong together.
    """
    path, model = run / CLASSIFIER_NAME, load_stored_model(run / MODEL_NAME)
    if not path.is_file():
        raise InputError(
            MODEL_OPTION,
            f"must hold a {CLASSIFIER_NAME}, the head of its model",
            got=f"{run}, whose model was imported, or trained by an older version",
            fix=_how_to_get_a_head(run, otherwise),
        )
    with _FILES.reading(path) as file:
        classifier = _built(file.about, file.tensors, model.embedder)
        if file.about["model_sha256"] != model.sha256:
            raise ValueError(f"it belongs to another {MODEL_NAME}")
    return classifier


def _how_to_get_a_head(run: Path, otherwise: str) -> str:
    if (run / CONFIG_NAME).is_file():  # it was trained here
        return how_to_finish(run, "faceverif train")
    command = printed_command("fit-head", "--model", run, "--data", "ALIGNED", "--out", "RUN")
    return f"Fit one to photos of your people: {command}." + (f" Or {otherwise}." if otherwise else "")


def _built(about: Mapping[str, Any], state: Mapping[str, Tensor], embedder: TorchEmbedder) -> FaceClassifier:
    # Of a training run the file holds all settings, of a fitted head no more than these.
    settings = {key: about["config"][key] for key in ClassifierConfig.model_fields}
    config = validate_config(ClassifierConfig, settings, source=CLASSIFIER_NAME)
    names = TypeAdapter(tuple[str, ...]).validate_python(about["class_names"], strict=False)
    objective = Objective(config, classes=len(names), embedding_dim=embedder.embedding_dim)
    objective.load_state_dict(below(_OBJECTIVE, state))
    for part in (embedder.backbone, objective):
        part.eval().requires_grad_(False)
    embedder.backbone.to(memory_format=torch.channels_last)
    trained, held_out = (state[name] for name in (_TRAINED, _HELD_OUT))
    rows = PhotoRows(str(about["data_sha256"]), _row_numbers(trained), _row_numbers(held_out))
    return FaceClassifier(embedder, objective, config, names, rows)


def _row_numbers(tensor: Tensor) -> NDArray[np.int64]:
    if tensor.dtype != torch.int64 or tensor.ndim != 1 or (tensor < 0).any():
        raise ValueError("its photos must be row numbers, one dimension of int64 from 0 on")
    return tensor.numpy()
