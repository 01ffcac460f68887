"""The teacher of a run: what it makes of a batch, looked up or computed on the student's own views."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from data_prep.errors import InputError
from faceverif.config.run import RunConfig
from faceverif.config.teacher import TeacherConfig
from faceverif.models import Embedder, load_embedder
from faceverif.models.model_file import evaluating
from faceverif.training.data import TrainingPhotos
from faceverif.training.layers import refuse_unknown_layers, tapped


class TeacherOutput(NamedTuple):
    """What a teacher says of a batch.

    Attributes:
        embeddings: (batch, dim), raw.
        features: by the student's layer, those of the teacher's layer that is its hint.
    """

    embeddings: Tensor
    features: Mapping[str, Tensor]


class Teacher(ABC):
    """A model that a student imitates; it does not learn.

    Attributes:
        embedder: the model.
    """

    embedder: Embedder

    def begin(self) -> None:  # noqa: B027 - a live teacher has nothing to do
        """Make ready what a training needs."""

    @abstractmethod
    def output(self, pixels: Tensor, photos: Tensor, mirrored: Tensor) -> TeacherOutput:
        """What it makes of a batch.

        Args:
            pixels: (batch, 3, input_px, input_px) in [0, 1], as the student sees them.
            photos: (batch,) which of the training photos.
            mirrored: (batch,) whether the student sees the mirror image.
        """

    def describe(self, config: TeacherConfig) -> dict[str, Any]:
        """For the provenance of the run; JSON-able."""
        return {
            "model": self.embedder.name,
            "sha256": self.embedder.sha256,
            "preprocessing": self.embedder.preprocessing,
            "views": config.views,
        }


def read_teacher(config: RunConfig, photos: TrainingPhotos, run: Path) -> Teacher | None:
    """The teacher that a config names; None where it names none.

    Args:
        config: the run.
        photos: what is trained on.
        run: its folder; stored embeddings lie below it, where the config names no other folder.

    Raises:
        InputError: no model, one for other crops, one with embeddings of another length, or layers that it
            does not have.
    """
    wanted = config.teacher
    if wanted is None:
        return None
    embedder = _embedder(wanted)
    _refuse_other_crops(embedder, photos)
    if wanted.views == "stored":
        from faceverif.training.teachers.stored import StoredTeacher

        teacher: Teacher = StoredTeacher(embedder, photos, folder=wanted.folder or run / "teacher")
    else:
        from faceverif.training.teachers.live import live_teacher

        teacher = live_teacher(embedder, wanted, input_px=config.backbone.input_px)
    return teacher


def refuse_unfit(teacher: Teacher, backbone: nn.Module, config: RunConfig) -> None:
    """Stop where student and teacher differ in what is to be equal: the embeddings' length, hints' shapes.

    Args:
        teacher: of the run.
        backbone: the student.
        config: the run.

    Raises:
        InputError: they differ, or the student has no such layer.
    """
    wanted, side = config.teacher, teacher.embedder.spec.input_px
    dim = teacher.embedder.embed(np.zeros((1, side, side, 3), np.uint8)).shape[1]
    if dim != config.backbone.embedding_dim:
        raise InputError(
            "backbone.embedding_dim",
            f"must be the teacher's, {dim}",
            got=config.backbone.embedding_dim,
            fix=f"Set backbone.embedding_dim={dim}.",
        )
    if wanted is None or not wanted.layers:
        return
    refuse_unknown_layers(backbone, wanted.layers, field="teacher.layers")
    grey = torch.full((1, 3, side, side), 0.5)
    with torch.no_grad(), evaluating(backbone), tapped(backbone, wanted.layers) as ours:
        backbone(grey)
    theirs = teacher.output(grey, torch.zeros(1).long(), torch.zeros(1).bool()).features
    for layer, features in theirs.items():
        if ours[layer].shape != features.shape:
            raise InputError(
                f"teacher.layers.{layer}",
                f"must have the shape of the teacher's {wanted.layers[layer]}, {_shape(features)}",
                got=_shape(ours[layer]),
                fix="Pair layers of one shape, or choose another backbone.",
            )


def _shape(features: Tensor) -> str:
    return " x ".join(map(str, features.shape[1:]))


def _embedder(config: TeacherConfig) -> Embedder:
    try:
        return load_embedder(config.model, preprocess=config.preprocess, output=config.output)
    except InputError as error:
        key = {"--preprocess": "preprocess", "--output": "output"}.get(error.field, "model")
        fix = error.fix.replace("--preprocess", "teacher.preprocess").replace("--output", "teacher.output")
        raise InputError(f"teacher.{key}", error.rule, got=error.got, fix=fix) from error


def _refuse_other_crops(embedder: Embedder, photos: TrainingPhotos) -> None:
    spec, header = embedder.spec, photos.dataset.header
    if (spec.template, spec.template_sha256) != (header.template, header.template_sha256):
        raise InputError(
            "teacher.model",
            f"must take the crops that are trained on: {header.template} {header.template_sha256[:12]}",
            got=f"{embedder.name}, which takes {spec.template} {spec.template_sha256[:12]}",
            fix=f"Align the photos with --template {spec.template}, or name another teacher.",
        )
