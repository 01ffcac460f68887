"""A run's thresholds: the similarity from which two photos count as one person, per false accept rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data_prep.atomic import write_text
from data_prep.counted import counted
from data_prep.errors import InputError
from data_prep.printed_command import printed_command
from faceverif.intervals import wilson_interval
from faceverif.models.location import MODEL_OPTION, SHIPPED, is_onnx
from faceverif.verification.result import VerificationResult
from faceverif.verification.roc import (
    TAR_RULE,
    TARGET_FARS,
    OperatingPoint,
    RocNumbers,
    pairs_to_resolve,
    resolves,
    tar_at_far,
)
from faceverif.verification.score_histogram import ScoreHistogram

CALIBRATION_NAME = "calibration.json"
INTERVAL_RULE = "95 % Wilson score interval of the measured FAR; it assumes independent impostor pairs"

_ROUNDING = 1e-3  # by which a cosine, and the step above the highest one, may pass 1
_Rate = Annotated[float, Field(ge=0, le=1)]


class CalibratedPoint(BaseModel):
    """A threshold for one false accept rate.

    Attributes:
        far: the requested rate.
        threshold: pairs of at least this similarity are accepted.
        measured_far: share of the impostor pairs accepted, at most `far`.
        false_accepts: their number.
        far_low: lower end of the interval of the measured FAR.
        far_high: its upper end.
        tar: share of the genuine pairs accepted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    far: Annotated[float, Field(gt=0, le=1)]
    threshold: Annotated[float, Field(ge=-1 - _ROUNDING, le=1 + _ROUNDING)]
    measured_far: _Rate
    false_accepts: Annotated[int, Field(ge=0)]
    far_low: _Rate
    far_high: _Rate
    tar: _Rate


class Calibration(BaseModel):
    """Thresholds of one model, and the pairs that they come from.

    Attributes:
        protocol: its name.
        protocol_sha256: of the pair file.
        data_sha256: of the aligned data set's manifest.
        model_sha256: of the model's weights.
        template_sha256: of the alignment template.
        flip: whether embeddings were averaged with those of mirrored crops.
        genuine_pairs: their number.
        impostor_pairs: their number, which bounds the smallest FAR.
        threshold_rule: in words.
        interval_rule: in words.
        points: one per resolvable FAR, in falling order.
        scores: how the pairs' similarities are spread; None in files of earlier versions.
        warnings: why the thresholds may mean nothing, in words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: str
    protocol_sha256: str
    data_sha256: str
    model_sha256: str
    template_sha256: str
    flip: bool
    genuine_pairs: Annotated[int, Field(gt=0)]
    impostor_pairs: Annotated[int, Field(gt=0)]
    threshold_rule: str
    interval_rule: str
    points: Annotated[tuple[CalibratedPoint, ...], Field(min_length=1)]
    scores: ScoreHistogram | None = None
    warnings: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Calibration:
        for point in self.points:
            measured = point.false_accepts / self.impostor_pairs
            if not math.isclose(point.measured_far, measured) or measured > point.far * (1 + 1e-9):
                raise ValueError(f"FAR {point.far:g} does not agree with its false accepts")
        if len({point.far for point in self.points}) != len(self.points):
            raise ValueError("two points have the same FAR")
        counted = self.scores and (sum(self.scores.genuine), sum(self.scores.impostor))
        if counted and counted != (self.genuine_pairs, self.impostor_pairs):
            raise ValueError("the scores do not agree with the number of pairs")
        return self

    def point(self, far: float, *, fix: str = "Ask for one of these.") -> CalibratedPoint:
        """The threshold for a FAR.

        Args:
            far: the rate.
            fix: what to do where it was not calibrated.

        Raises:
            InputError: this FAR was not calibrated.
        """
        for point in self.points:
            if math.isclose(point.far, far, rel_tol=1e-9):
                return point
        known = ", ".join(f"{point.far:g}" for point in self.points)
        raise InputError(
            "--far",
            f"must be a calibrated false accept rate; {self.impostor_pairs:,} impostor pairs gave {known}",
            got=f"{far:g}",
            fix=fix,
        )

    def tar_interval(self, point: CalibratedPoint) -> tuple[float, float]:
        """95 % interval of a point's true accept rate, as `INTERVAL_RULE` has it for the FAR."""
        return wilson_interval(round(point.tar * self.genuine_pairs), self.genuine_pairs)


def calibration_of(result: VerificationResult, *, fars: Sequence[float] = ()) -> Calibration:
    """The thresholds of a verification, for `TARGET_FARS` as far as its pairs resolve them.

    A pair of which a photo could not be read has no similarity. As an error of a verification it would count
    like the most similar strangers, and set the threshold; so it is left out here.

    Args:
        result: the verification.
        fars: further false accept rates.

    Raises:
        InputError: it subtracted the folds' mean embeddings, which a single pair of photos does not have, or
            too few of its pairs could be read for any rate, or for one of `fars`.
    """
    used = result.protocol.scored & result.photos.readable_pairs
    scores, same = result.scores[used], result.protocol.same[used]
    lost = int(result.protocol.scored.sum()) - len(same)
    _refuse_unfit(result, same, fewest=1 if fars else pairs_to_resolve(max(TARGET_FARS)), lost=lost)
    numbers = RocNumbers.of(scores, same)
    usual = {far: point for far, point in numbers.tar_at_far.items() if point is not None}
    further = {far: tar_at_far(numbers.roc, far) for far in fars}
    points = sorted((usual | further).items(), reverse=True)
    left_out = f"left out {lost:,} of {counted(lost + len(same), 'pair')}: a photo could not be read"
    return Calibration(
        protocol=result.protocol.name,
        protocol_sha256=result.protocol.sha256,
        data_sha256=result.dataset.sha256,
        model_sha256=result.model.sha256,
        template_sha256=result.dataset.header.template_sha256,
        flip=result.flip,
        genuine_pairs=numbers.roc.genuine,
        impostor_pairs=numbers.roc.impostors,
        threshold_rule=TAR_RULE,
        interval_rule=INTERVAL_RULE,
        points=tuple(_calibrated(far, point, numbers.roc.impostors) for far, point in points),
        scores=ScoreHistogram.of(scores, same),
        warnings=(*result.warnings, left_out) if lost else result.warnings,
    )


def _refuse_unfit(result: VerificationResult, same: NDArray[np.bool_], *, fewest: int, lost: int) -> None:
    """Stop where a verification gives no threshold.

    Args:
        result: the verification.
        same: (pairs,) of those that could be read, whether they are genuine.
        fewest: impostor pairs that are needed.
        lost: pairs that could not be read.
    """
    impostors = int((~same).sum())
    if result.subtract_mean:
        raise InputError(
            "calibration",
            "needs a verification without mean subtraction",
            got="mean subtraction",
            fix="Run `faceverif calibrate`, or set subtract_mean of that verification to false.",
        )
    if impostors >= fewest and same.any():
        return
    got = f"{counted(impostors, 'impostor pair')}, {counted(len(same) - impostors, 'genuine pair')}"
    raise InputError(
        "calibration",
        f"needs {fewest} or more impostor pairs and a genuine pair whose photos can be read",
        got=got + (f", and {counted(lost, 'pair')} with a photo that could not be read" if lost else ""),
        fix="See the reasons in the manifest, and align readable photos."
        if lost
        else "Take a protocol with more pairs of different people.",
    )


def _calibrated(far: float, point: OperatingPoint, impostors: int) -> CalibratedPoint:
    low, high = wilson_interval(point.false_accepts, impostors)
    return CalibratedPoint(
        far=far,
        threshold=point.threshold,
        measured_far=point.far,
        false_accepts=point.false_accepts,
        far_low=low,
        far_high=high,
        tar=point.tar,
    )


def write_calibration(run: Path, result: VerificationResult) -> Path:
    """Write a run's `calibration.json`; raises as `calibration_of` does."""
    path = run / CALIBRATION_NAME
    write_text(path, calibration_of(result).model_dump_json(indent=2) + "\n")
    return path


def calibration_file(model: Path) -> Path:
    """Where a model's thresholds lie: in its folder, or beside its .onnx file, as in m.calibration.json."""
    if is_onnx(model):
        return model.with_suffix(f".{CALIBRATION_NAME}")
    return (model if model.is_dir() else model.parent) / CALIBRATION_NAME


def refuse_uncalibrated(
    model: Path,
    far: float | None = None,
    *,
    file: Path | None = None,
    preprocess: str | None = None,
    output: str | None = None,
) -> None:
    """Stop, before a model is loaded, where it has no thresholds, or none for a FAR.

    Args:
        model, file, preprocess, output: as for `load_calibration`.
        far: the rate; None: any.

    Raises:
        InputError: there are none, they are damaged, or this FAR was not calibrated.
    """
    thresholds = _Thresholds(model, file, preprocess, output)
    calibration = thresholds.read()
    if far is not None and 0 < far <= 1:
        few = not resolves(far, calibration.impostor_pairs)
        enough = f", with at least {pairs_to_resolve(far):,} impostor pairs" if few else ""
        calibration.point(far, fix=f"Ask for one of these, or set it{enough}: {thresholds.way(far=far)}")
    elif far is not None:
        calibration.point(far)


def load_calibration(
    model: Path,
    *,
    model_sha256: str,
    file: Path | None = None,
    preprocess: str | None = None,
    output: str | None = None,
) -> Calibration:
    """Read a model's thresholds.

    Args:
        model: a run, an imported model or an .onnx file.
        model_sha256: of the model that will be used; thresholds hold for one model only.
        file: where they are, if not with the model.
        preprocess, output: with which it was loaded; the command that sets thresholds needs them too.

    Raises:
        InputError: there are none, they are damaged, or they belong to another model.
    """
    thresholds = _Thresholds(model, file, preprocess, output)
    calibration = thresholds.read()
    if calibration.model_sha256 != model_sha256:
        raise InputError(
            MODEL_OPTION,
            f"{CALIBRATION_NAME} must belong to the model {model_sha256[:12]}",
            got=calibration.model_sha256[:12],
            fix=f"Set them: {thresholds.way()}",
        )
    return calibration


@dataclass(frozen=True)
class _Thresholds:
    """Where a model's thresholds are, and how they are set; see `load_calibration`."""

    model: Path
    file: Path | None
    preprocess: str | None
    output: str | None

    def read(self) -> Calibration:
        path = self.file or calibration_file(self.model)
        fix = f"Set them: {self.way()}"
        if not path.is_file():
            raise InputError(MODEL_OPTION, f"must have thresholds, in {path}", got="no such file", fix=fix)
        try:
            return Calibration.model_validate_json(path.read_bytes())
        except ValidationError as error:
            problem = f"{path} ({counted(error.error_count(), 'problem')})"
            rule = f"{CALIBRATION_NAME} must be as written"
            raise InputError(MODEL_OPTION, rule, got=problem, fix=fix) from error

    def way(self, *, far: float | None = None) -> str:
        """The command that sets them; those of the package's model need a file of their own."""
        own = self.model == SHIPPED
        options = {
            "--model": None if own else self.model,
            "--preprocess": self.preprocess,
            "--output": self.output,
            "--data": "ALIGNED",
            "--protocol": "PAIRS",
            "--out": self.file or ("thresholds.json" if own else None),
            "--far": None if far is None else f"{far:g}",
        }
        given = [word for option, value in options.items() if value is not None for word in (option, value)]
        then = "; then add --calibration thresholds.json" if own and self.file is None else ""
        return printed_command("calibrate", *given) + then
