"""The guard of a face run: its detector and the scores of clean photos, kept in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.dataset.crops import centre_square
from data_prep.dataset.manifest import AlignedDataset
from data_prep.dataset.packed import load_aligned
from data_prep.errors import InputError, printable_lines
from data_prep.lock import locked
from data_prep.printed_command import printed_command
from data_prep.progress import say
from faceverif.config.paths import how_to_finish
from faceverif.heads import Head
from faceverif.heads.lgm import LGMHead
from faceverif.images.base import LabelledImages
from faceverif.images.faces import STRANGER, FaceImages
from faceverif.models.embedder import PreprocessingSpec
from faceverif.models.location import MODEL_OPTION
from faceverif.models.model_file import holds_face_model
from faceverif.models.sealed_tensors import ModelFormat, below
from robustness.attacked_model import AttackedModel
from robustness.calibration_size import smallest_calibration, smallest_rate
from robustness.detectors import Detector, build_detector
from robustness.detectors.knn import NEIGHBOUR
from robustness.detectors.mahalanobis import images_needed
from robustness.detectors.rejection_threshold import RejectionThreshold, calibrate
from robustness.features import Features, extract_features
from robustness.fitted_model import FittedModel, evenly, features_of, whole_classes
from robustness.loaded_run import LoadedRun, load_run, load_without_photos, run_sha256

GUARD_NAME = "rejection.safetensors"
RATES = (0.1, 0.05, 0.01, 0.001)
_FILES = ModelFormat(
    "faceverif.rejection", command="faceverif calibrate-rejection", run="rejection calibration"
)
# Training photos that the detector is fitted on. They outnumber their classes by this multiple of the
# embedding's dimension, because their deviations from the class means have to fill a covariance.
_FIT, _SPARE_PER_DIMENSION = 10_000, 5
_SCORES, _DETECTOR = "clean_scores", "detector."
_HELD_OUT = "held-out photos of training people"


@dataclass(frozen=True)
class Guard:
    """A detector that rejects at any false-rejection rate that its clean scores resolve.

    Attributes:
        name: of the detector.
        detector: fitted.
        clean_scores: (n,) of photos that were not trained on.
        clean: where these photos come from, in words.
    """

    name: str
    detector: Detector
    clean_scores: NDArray[np.float64]
    clean: str

    def point(self, rate: float) -> RejectionThreshold:
        """The threshold of a false-rejection rate.

        Raises:
            InputError: out of range, or too few clean photos for that rate.
        """
        if not 0 < rate < 1:
            raise InputError("--reject", "must lie in (0, 1)", got=rate, fix="0.01 is 1 %.")
        if len(self.clean_scores) < smallest_calibration(rate):
            raise InputError(
                "--reject",
                f"a false-rejection rate of {rate:g} needs {smallest_calibration(rate):,} clean photos",
                got=f"{len(self.clean_scores):,} ({self.clean})",
                fix=f"{_FILES.command} with more photos, or ask for {smallest_rate(len(self.clean_scores))}.",
            )
        return calibrate(self.clean_scores, rate)

    def text(self) -> str:
        """The thresholds, for a terminal."""
        resolved = [rate for rate in RATES if len(self.clean_scores) >= smallest_calibration(rate)]
        return "\n".join(
            [f"{self.name}, thresholds from {len(self.clean_scores):,} clean photos: {self.clean}"]
            + [f"  false-rejection rate {rate:g}: {self.point(rate).threshold:.6g}" for rate in resolved]
        )


@dataclass(frozen=True)
class GuardedModel:
    """A face model whose guard rejects at one false-rejection rate.

    Attributes:
        model: in evaluation mode.
        spec: the crops that it takes.
        guard: the detector and its clean scores.
        point: its threshold.
    """

    model: AttackedModel
    spec: PreprocessingSpec
    guard: Guard
    point: RejectionThreshold

    def scores(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """How adversarial each crop looks, (n,), of (n, crop_px, crop_px, 3) uint8 RGB."""
        pixels = torch.from_numpy(np.ascontiguousarray(centre_square(crops, self.spec.input_px)))
        strangers = torch.full((len(crops),), STRANGER)
        features = extract_features(self.model, pixels.permute(0, 3, 1, 2), strangers)
        return self.guard.detector.score(features).double().numpy()

    def verdict(self, scores: Sequence[float]) -> dict[str, Any]:
        """Which photos with these scores are rejected, JSON-able."""
        return {
            "rejected": [bool(self.point.rejects(score)) for score in scores],
            "rejection_scores": list(scores),
            "rejection_threshold": self.point.threshold,
        }

    def answer(self, photos: Sequence[Path], crops: NDArray[np.uint8], *, decision: str) -> str:
        """The decision about photos, or which of them are rejected; for a terminal.

        Args:
            photos: their files.
            crops: (n, crop_px, crop_px, 3), what was taken of each.
            decision: the text if none is rejected.
        """
        point, scores = self.point, self.scores(crops)
        rejected = [
            f"rejected: {photo} scores {score:.6g} > {point.threshold:.6g}"
            for photo, score in zip(photos, scores, strict=True)
            if point.rejects(score)
        ]
        passed = f"not rejected: scores {', '.join(f'{score:.6g}' for score in scores)}"
        grounds = (
            f"{self.guard.name} threshold {point.threshold:.6g} for a false-rejection rate of "
            f"{point.false_rejection_rate:g}, from {point.calibration_size:,} clean photos: "
            f"{self.guard.clean}"
        )
        lines = [*rejected, grounds] if rejected else [*decision.splitlines(), passed, grounds]
        return printable_lines(lines)


def calibrate_guard(run: Path, *, data: Path | None = None, trained_on: Path | None = None) -> Guard:
    """Fit a run's detector, score clean photos, and write RUN/rejection.safetensors.

    See `detector_for`.

    Args:
        run: a finished face run.
        data: aligned photos of people whom the model does not know, of the training's own set those whom the
            training left out; None: the run's held-out photos. A threshold keeps its rate on photos like
            these.
        trained_on: where the photos that it was trained on are now; None: where it was trained from.

    Raises:
        InputError: no finished face run, no such photos, of another template, or those it was trained on; too
            few training photos for a detector; or another command is filling the run's folder.
    """
    _refuse_other_runs(run)
    finished = load_run(run, data_path=trained_on)
    assert finished.spec is not None  # it holds a face model
    with locked(run, command=_FILES.command, option=MODEL_OPTION):
        guard = _calibrated(finished, finished.spec, data)
        _save(run, guard)
    return guard


def _calibrated(finished: LoadedRun, spec: PreprocessingSpec, data: Path | None) -> Guard:
    clean, fitted_on = _clean_photos(finished, spec, data), _to_fit_on(finished)
    name = detector_for(finished.model.head, fitted_on.labels)
    say(f"fitting {name}, then scoring {len(clean):,} clean photos")
    detectors = {name: build_detector(name, finished.model)}
    detector = FittedModel.of(finished.model, fitted_on, detectors=detectors).detectors[name]
    scores = detector.score(features_of(finished.model, clean)).double()
    return Guard(name, detector, scores.numpy(), _origin(clean, finished, data))


def detector_for(head: Head, labels: Tensor) -> str:
    """The likelihood of the lgm head; of others the Mahalanobis distance, or neighbours where photos are few.

    Args:
        head: of the run.
        labels: (N,) of the training photos that the detector is fitted on.

    Raises:
        InputError: too few photos for either.
    """
    if isinstance(head, LGMHead):
        return "lgm_class"
    photos, people = len(labels), len(labels.unique())
    needed = images_needed(classes=people, embedding_dim=head.embedding_dim)
    if photos >= needed:
        return "mahalanobis"
    if photos < NEIGHBOUR:
        raise InputError(
            "--model",
            f"must be trained on {NEIGHBOUR} photos or more, on which a detector is fitted",
            got=f"{photos:,}",
            fix="Train on more photos, or fit the head that is its own detector: "
            "faceverif fit-head --model RUN --data ALIGNED --out OTHER --head lgm",
        )
    say(
        f"warning: mahalanobis needs {needed:,} training photos for {people:,} people and "
        f"{head.embedding_dim:,} dimensions, and there are {photos:,}: knn takes its place"
    )
    return "knn"


def load_guard(run: Path, *, rate: float) -> GuardedModel:
    """The model of a run with its guard.

    Args:
        run: a face run that `calibrate_guard` has seen.
        rate: of false rejections.

    Raises:
        InputError: no finished face run, no calibration, one of another model, or one that does not resolve
            the rate.
    """
    _refuse_other_runs(run)
    model, spec = load_without_photos(run)
    path = run / GUARD_NAME
    if not path.is_file():
        raise InputError(
            "--reject",
            f"needs a {GUARD_NAME} in the run",
            got=run,
            fix="Run: " + printed_command("calibrate-rejection", "--model", run),
        )
    with _FILES.reading(path) as file:
        if file.about["run_sha256"] != run_sha256(run):
            raise ValueError("it belongs to another model")
        guard = _built(file.about, file.tensors, model)
    return GuardedModel(model, spec, guard, guard.point(rate))


def _refuse_other_runs(run: Path) -> None:
    if not holds_face_model(run):
        raise InputError(
            MODEL_OPTION,
            "must be a finished face run, or a folder by `faceverif fit-head`",
            got=run,
            fix=how_to_finish(run, "faceverif train"),
        )


def _clean_photos(finished: LoadedRun, spec: PreprocessingSpec, data: Path | None) -> FaceImages:
    if data is None:
        assert isinstance(finished.unseen, FaceImages)  # it is a face run
        photos, fix = finished.unseen, "Train with data.held_out_per_identity, or give --data."
    else:
        dataset = load_aligned(data)
        spec.refuse_other(dataset.header)
        photos = FaceImages.of_strangers(dataset, _strangers(finished, dataset), input_px=spec.input_px)
        fix = "Align photos into it."
    if not len(photos):
        raise InputError("clean photos", "must be there", got="none", fix=fix)
    return photos


def _origin(clean: FaceImages, finished: LoadedRun, data: Path | None) -> str:
    """Where clean photos come from, in words."""
    if data is None:
        return _HELD_OUT
    trained = finished.trained_on
    assert isinstance(trained, FaceImages)  # it is a face run
    left_out = clean.dataset.sha256 == trained.dataset.sha256
    return f"aligned photos in {data}{' of people whom the training left out' if left_out else ''}"


def _to_fit_on(finished: LoadedRun) -> LabelledImages:
    """Training photos, balanced over people; with too many people for that, all photos of a random few."""
    photos, spare = finished.trained_on, _SPARE_PER_DIMENSION * finished.model.head.embedding_dim
    some = evenly(photos, _FIT, seed=0)
    if len(some) - len(some.labels.unique()) >= spare:
        return some
    return whole_classes(photos, _FIT, spare=spare, seed=0)


def _strangers(finished: LoadedRun, dataset: AlignedDataset) -> NDArray[np.int64]:
    """Rows with a crop; of the set that was trained on, only those of people whom the training left out.

    Photos that were trained on score lower than others: their threshold would reject too many.
    """
    trained, rows = finished.trained_on, dataset.with_crop()
    assert isinstance(trained, FaceImages)  # it is a face run
    if dataset.sha256 != trained.dataset.sha256:
        return rows
    rows = rows[dataset.has_identity()[rows]]
    others = rows[~np.isin(dataset.column("identity")[rows].astype(str), trained.class_names)]
    if not len(others):
        raise InputError(
            "--data",
            "must not be the data set that the run was trained on",
            got=f"{dataset.root}, which has nobody whom the training left out",
            fix="Leave out --data to use the run's held-out photos, or give photos of other people.",
        )
    return others


def _save(run: Path, guard: Guard) -> None:
    about = {"detector": guard.name, "clean": guard.clean, "run_sha256": run_sha256(run)}
    state = {_DETECTOR + name: tensor for name, tensor in guard.detector.state().items()}
    state[_SCORES] = torch.from_numpy(guard.clean_scores)
    _FILES.write(run / GUARD_NAME, state, about)


def _built(about: Mapping[str, Any], state: Mapping[str, Tensor], model: AttackedModel) -> Guard:
    detector = build_detector(about["detector"], model).restore(below(_DETECTOR, state))
    _refuse_unfit(detector, model)
    scores = state[_SCORES].double()
    if scores.ndim != 1 or not len(scores) or not scores.isfinite().all():
        raise ValueError(f"its {_SCORES} are no list of finite numbers")
    return Guard(str(about["detector"]), detector, scores.numpy(), str(about["clean"]))


def _refuse_unfit(detector: Detector, model: AttackedModel) -> None:
    """Stop where what a detector has learnt has another shape than the model asks for, or is not finite."""
    head = model.head
    one = torch.ones(1, head.embedding_dim), torch.ones(1, head.classes), torch.zeros(1, dtype=torch.int64)
    if not detector.score(Features(*one)).isfinite().all():
        raise ValueError("what its detector has learnt gives no finite score")
