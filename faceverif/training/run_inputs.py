"""What a run reads before it trains, so that whatever is wrong with it is found first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faceverif.config.run import RunConfig
from faceverif.models import PreprocessingSpec
from faceverif.training.checkpoint import load_checkpoint
from faceverif.training.checks import VerificationCheck
from faceverif.training.data import TrainingPhotos, load_training_photos, refuse_long_temporary_folder
from faceverif.training.start_from import Start
from faceverif.training.teachers.base import Teacher, read_teacher
from faceverif.verification.embeddings import EmbeddedPhotos


@dataclass(frozen=True)
class RunInputs:
    """Data, checkpoint, and what other runs give.

    Attributes:
        photos: what is trained on.
        spec: the crops that the model is made for.
        checks: verifications on the way.
        checkpoint: from which the run continues; None: it begins.
        start: what an earlier run learnt; None: from scratch, or the checkpoint has it.
        teacher: whom the backbone imitates; None: nobody.
    """

    photos: TrainingPhotos
    spec: PreprocessingSpec
    checks: list[VerificationCheck]
    checkpoint: dict[str, Any] | None
    start: Start | None
    teacher: Teacher | None

    @classmethod
    def read(cls, config: RunConfig, run: Path, *, resume: bool) -> RunInputs:
        """Read and check all of it; nothing is written.

        Args:
            config: the run.
            run: its folder.
            resume: refuse a folder without a checkpoint.

        Raises:
            InputError: data, folder or settings break a rule.
        """
        refuse_long_temporary_folder(config.training.workers)
        photos = load_training_photos(config.data, input_px=config.backbone.input_px, seed=config.seed)
        spec = PreprocessingSpec.of(photos.dataset.template, input_px=config.backbone.input_px)
        checks = [VerificationCheck.load(entry, spec) for entry in config.verification]
        checkpoint = load_checkpoint(run, config, data_sha256=photos.sha256, required=resume)
        start = None if checkpoint is not None else _start(config, photos, spec)
        return cls(photos, spec, checks, checkpoint, start, read_teacher(config, photos, run))


def _start(config: RunConfig, photos: TrainingPhotos, spec: PreprocessingSpec) -> Start | None:
    if config.training.start_from is None:
        return None
    start = Start.read(config.training.start_from, photos.identities, spec=spec)
    if config.starts_from_data:
        start = replace(start, head={})  # the photos say where the classes are
    if config.starts_from_data and config.training.stored_features is None:
        embedded = EmbeddedPhotos(start.model, photos.dataset, flip=False)
        start = replace(start, moments=photos.class_moments(embedded))
    return start
