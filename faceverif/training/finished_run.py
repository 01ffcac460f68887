"""What a finished training leaves in its folder: model, classifier, verification files, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from data_prep.errors import InputError
from data_prep.progress import say
from faceverif.models import MODEL_NAME, PreprocessingSpec, save_model
from faceverif.models.face_classifier import PhotoRows, save_face_classifier
from faceverif.models.model_file import weights_sha256
from faceverif.training.checks import VerificationCheck
from faceverif.training.data import TrainingPhotos
from faceverif.training.learner import Learner
from faceverif.verification.result import VerificationResult


def export_weights(
    run: Path,
    learner: Learner,
    objective_state: Mapping[str, Tensor],
    *,
    photos: TrainingPhotos,
    spec: PreprocessingSpec,
    provenance: dict[str, Any],
) -> None:
    """Write the backbone as a model, and the head with the people whom it knows.

    Args:
        run: its folder.
        learner: at the last step.
        objective_state: its head with all classes, criterion and penalties.
        photos: what was trained on.
        spec: the crops that the model takes.
        provenance: of the run, complete.
    """
    config = learner.config
    save_model(
        run / MODEL_NAME,
        learner.result,
        backbone_config=config.backbone.model_dump(mode="json"),
        spec=spec,
        provenance=provenance,
    )
    save_face_classifier(
        run,
        objective_state,
        config=config,
        class_names=photos.identities,
        photos=PhotoRows(photos.dataset.sha256, photos.rows, photos.held_out),
        model_sha256=weights_sha256(learner.result),
    )


def write_results(run: Path, results: Sequence[tuple[VerificationCheck, VerificationResult]]) -> None:
    """Write verification files, the thresholds that the first one gives, and the report.

    Args:
        run: its folder, with the model.
        results: of every verification, in the order of the config.
    """
    from faceverif.report.run_page import write_run_report
    from faceverif.verification.runner import write_result

    for check, result in results:
        write_result(result, run / "verification" / check.config.name)
    if results:
        _calibrate(run, results[0][1])
    say(f"model: {run / MODEL_NAME}")
    say(f"report: {write_run_report(run)}")


def _calibrate(run: Path, result: VerificationResult) -> None:
    """Write the thresholds of a verification, or say why it gives none; the report follows anyway."""
    from faceverif.verification.calibration import write_calibration

    try:
        write_calibration(run, result)
    except InputError as error:
        say(f"no thresholds were set: {error}")
