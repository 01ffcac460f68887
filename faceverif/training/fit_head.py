"""`faceverif fit-head`: a head for people of our own, on the frozen embeddings of a finished model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from data_prep.atomic import written_whole
from data_prep.counted import counted
from data_prep.device import computing_device
from data_prep.errors import InputError, printable_lines
from data_prep.json_object import write_json
from data_prep.lock import filled
from data_prep.progress import progress
from faceverif.config.fitted_head import FittedHeadConfig
from faceverif.config.optimisation import AdamWConfig
from faceverif.file_names import PROVENANCE_NAME
from faceverif.heads.moments import ClassMoments
from faceverif.models import MODEL_NAME, TorchEmbedder, load_model
from faceverif.models.face_classifier import CLASSIFIER_NAME, PhotoRows, save_face_classifier
from faceverif.models.location import MODEL_OPTION, model_file_of, refuse_onnx
from faceverif.objective import Objective
from faceverif.provenance import describe_start
from faceverif.report.numbers import percent
from faceverif.training.data import TrainingPhotos, load_training_photos
from faceverif.training.optimizer import build_optimizer, set_learning_rate
from faceverif.training.order import RemainingBatches
from faceverif.training.provenance import describe_photos
from faceverif.training.randomness import counted_seed
from faceverif.verification.embeddings import embed_dataset

_LONGEST_GRADIENT = 5.0


@dataclass(frozen=True)
class FittedHead:
    """What was fitted.

    Attributes:
        run: the folder of model and head.
        head: its name.
        people, trained, held_out: how many people, photos that it was fitted to, and photos kept apart.
        accuracy, unseen_accuracy: shares of those photos that get their own label; the second is None where
            no photo is kept apart.
    """

    run: Path
    head: str
    people: int
    trained: int
    held_out: int
    accuracy: float
    unseen_accuracy: float | None

    def text(self) -> str:
        """Two lines for the user."""
        unseen = (
            ""
            if self.unseen_accuracy is None
            else f", {percent(self.unseen_accuracy, 1)} % on {counted(self.held_out, 'other')}"
        )
        counts = (
            f"{self.people:,} people: accuracy {percent(self.accuracy, 1)} % on the {self.trained:,} photos"
        )
        return printable_lines([f"{self.head} on {counts} of the fit{unseen}", f"model: {self.run}"])


def fit_head(model: Path, config: FittedHeadConfig, run: Path) -> FittedHead:
    """Fit a head to the embeddings of people's photos, and write RUN, which `reject` accepts like a run.

    Args:
        model: a run or an imported model; it stays as it is.
        config: the head, and whose photos.
        run: a folder, new or without a model.

    Raises:
        InputError: no finished model, photos of other crops or too few of them, a loss or logits that are not
            finite, or RUN holds a model.
    """
    _refuse_model_in(run)
    embedder = _model(model)
    embedder.backbone.to(computing_device())  # the head is small, and stays on the CPU
    photos = load_training_photos(config.data, input_px=embedder.spec.input_px, seed=config.seed)
    embedder.spec.refuse_other(photos.dataset.header)
    with filled(run, command="faceverif fit-head"):
        torch.manual_seed(counted_seed(config.seed, "weights"))
        objective = Objective(config, classes=len(photos.identities), embedding_dim=embedder.embedding_dim)
        embeddings = _embeddings(embedder, photos, photos.rows)
        _fit(objective, embeddings, torch.from_numpy(photos.labels), config)
        fitted = _judged(run, objective.eval(), embedder, photos, embeddings, config)
        with written_whole(run / MODEL_NAME) as unfinished:
            copyfile(model_file_of(model), unfinished)
        _write_head(fitted, objective, embedder, photos, config)
    return fitted


def _model(model: Path) -> TorchEmbedder:
    refuse_onnx(model)
    return load_model(model_file_of(model), field=MODEL_OPTION)


def _refuse_model_in(run: Path) -> None:
    for name in (CLASSIFIER_NAME, MODEL_NAME):
        if (run / name).exists():
            raise InputError("--out", "must not hold a model yet", got=run / name, fix="Name another folder.")


def _embeddings(embedder: TorchEmbedder, photos: TrainingPhotos, rows: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(embed_dataset(embedder, photos.dataset, rows, flip=False))


def _fit(objective: Objective, embeddings: Tensor, labels: Tensor, config: FittedHeadConfig) -> None:
    """Put the head on the class means, then let it learn."""
    objective.head.start_at(ClassMoments.of(embeddings, labels))
    batch, epochs = min(config.fit.batch_size, len(labels)), config.epochs
    steps = epochs * (len(labels) // batch)
    optimizer = build_optimizer(AdamWConfig(name="adamw", learning_rate=1.0, weight_decay=0.0), objective)
    order = RemainingBatches(len(labels), batch_size=batch, steps=(0, steps), seed=config.seed, share=(0, 1))
    objective.train()
    with progress(f"fit {config.head.name}", total=steps * batch) as advance:
        for step, which in enumerate(order):
            set_learning_rate(
                optimizer, config.fit.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
            )
            objective.start_draws(counted_seed(config.seed, "margins", step))
            loss = objective(embeddings[which], labels[which]).loss
            _refuse_not_finite(loss)
            optimizer.zero_grad()
            loss.backward()
            clip_grad_norm_(objective.parameters(), _LONGEST_GRADIENT)
            optimizer.step()
            if (step + 1) % (steps // epochs) == 0:
                objective.end_epoch()
            advance(batch, f"loss {loss.item():.3f}")


def _refuse_not_finite(loss: Tensor) -> None:
    if not loss.isfinite():
        raise InputError(
            "loss", "must be finite", got=float(loss), fix="Lower the rate: --set fit.learning_rate=0.001"
        )


def _judged(
    run: Path,
    objective: Objective,
    embedder: TorchEmbedder,
    photos: TrainingPhotos,
    embeddings: Tensor,
    config: FittedHeadConfig,
) -> FittedHead:
    names = photos.dataset.column("identity")[photos.held_out].astype(str)
    labels = torch.from_numpy(np.searchsorted(photos.identities, names))
    apart = _embeddings(embedder, photos, photos.held_out) if len(names) else None
    return FittedHead(
        run,
        config.head.name,
        people=len(photos.identities),
        trained=len(photos),
        held_out=len(names),
        accuracy=_accuracy(objective, embeddings, torch.from_numpy(photos.labels)),
        unseen_accuracy=None if apart is None else _accuracy(objective, apart, labels),
    )


@torch.no_grad()
def _accuracy(objective: Objective, embeddings: Tensor, labels: Tensor) -> float:
    logits = objective.head.logits(embeddings)
    if not logits.isfinite().all():
        fix = "Take another head, or for lgm: --set head.covariance=identity"
        raise InputError("head", "logits must be finite", got="NaN or infinity", fix=fix)
    return (logits.argmax(dim=1) == labels).double().mean().item()


def _write_head(
    fitted: FittedHead,
    objective: Objective,
    embedder: TorchEmbedder,
    photos: TrainingPhotos,
    config: FittedHeadConfig,
) -> None:
    about = describe_start(describe_photos(photos), seed=config.seed, device=embedder.device) | {
        "model": {"file": embedder.name, "sha256": embedder.sha256, "provenance": dict(embedder.provenance)},
        "accuracy": {"trained": fitted.accuracy, "held_out": fitted.unseen_accuracy},
    }
    write_json(fitted.run / PROVENANCE_NAME, about)
    save_face_classifier(
        fitted.run,
        objective.state_dict(),
        config=config,
        class_names=photos.identities,
        photos=PhotoRows(photos.dataset.sha256, photos.rows, photos.held_out),
        model_sha256=embedder.sha256,
    )
