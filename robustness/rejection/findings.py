"""Finished trials, and the rows of tables: means over the trainings of a model."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError
from robustness.config.attacks import PairGoal
from robustness.detectors.rejection_threshold import RejectionThreshold
from robustness.rejection.bootstrap import Estimate
from robustness.rejection.outcome import Detection
from robustness.rejection.pair_trial import PairTrial
from robustness.rejection.trial import Trial, is_limited
from robustness.rejection.trial_files import TrialScores, file_at, read_pictures, read_record, read_scores
from robustness.rejection.trial_record import OutcomeRecord, TrialRecord


@dataclass(frozen=True)
class Finding:
    """A finished trial.

    Attributes:
        trial: what was done.
        record: its JSON file.
        stem: its files, without a suffix.
    """

    trial: Trial
    record: TrialRecord
    stem: Path

    @classmethod
    def read(cls, trial: Trial, out: Path) -> Finding | None:
        """The finding of a trial, None where it has not finished.

        Raises:
            InputError: its file is damaged.
        """
        stem = out / trial.path
        return cls(trial, read_record(stem), stem) if file_at(stem, "json").is_file() else None

    @property
    def detectors(self) -> dict[str, OutcomeRecord]:
        """Detector -> its outcome, the model's own first."""
        return self.record.detectors

    @property
    def own_detector(self) -> str:
        """The name of the model's own detector."""
        return next(iter(self.detectors))

    @property
    def own(self) -> OutcomeRecord:
        """The outcome of the model's own detector."""
        return self.detectors[self.own_detector]

    @property
    def attackable(self) -> bool:
        """Whether any image was right before the attack; without one its success is not defined."""
        return self.own.success is not None

    @property
    def points(self) -> dict[float, RejectionThreshold]:
        """False-rejection rate -> what the model's own detector rejects at it."""
        points = (detection.point for detection in self.own.detections)
        return {point.false_rejection_rate: point for point in points}

    def undetected_error(self, rate: float) -> Estimate:
        """Share of all images that are wrong after the attack and not rejected at that rate."""
        scores = self.scores()
        rejected = self.points[rate].rejects(scores.attacked[self.own_detector])
        return Estimate.of_share(~scores.verdicts.correct & ~rejected)

    def scores(self) -> TrialScores:
        """What every image scored."""
        return read_scores(self.stem, self.record)

    def pictures(self) -> dict[str, NDArray[np.float32]]:
        """The first few images: clean, attacked, and of pairs the references."""
        return read_pictures(self.stem, self.record)


@dataclass(frozen=True)
class Spread:
    """A figure over the trainings of a model, or of its only one with its interval.

    Attributes:
        mean: of the trainings.
        sd: over them, n - 1 in the denominator; None for a single one.
        low, high: 95 % interval of a single training (`INTERVAL_RULE`); None for several, or where there is
            none.
        trainings: how many.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    trainings: int

    @classmethod
    def of(cls, estimates: Sequence[Estimate | float | None]) -> Spread | None:
        """Over outcomes; None if no training has the figure."""
        there = [each for each in estimates if each is not None]
        values = [each.value if isinstance(each, Estimate) else each for each in there]
        if not values:
            return None
        single = there[0] if len(there) == 1 and isinstance(there[0], Estimate) else None
        low, high = (single.low, single.high) if single else (None, None)
        sd = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), sd, low, high, len(values))


@dataclass(frozen=True)
class Row:
    """A model under an attack or control of one size, over its trainings.

    Attributes:
        model, goal, label, norm, epsilon: which; goal is None for images of the classes.
        control: whether it is no attack.
        local: whether it changes only a region.
        detector: whose figures these are.
        images: of one training, or pairs.
        size: mean norm of the changes, which may be less than epsilon.
        clean_accuracy: share that is correct before it; of pairs, the share that can be attacked.
        error: share that is wrong after it.
        success: share of the initially correct images on which the attack reaches its goal.
        auc, eer: of all clean against all changed images.
        detection: by false-rejection rate, share of the changed images rejected.
        undetected: by rate, share of the initially correct images on which the attack succeeds undetected.
        false_rejection: by rate, share of the clean images rejected.
        zero_gradient: share of the initially correct images that gave the attack no gradient to follow; None
            if it asked for none.
    """

    model: str
    goal: PairGoal | None
    label: str
    norm: str
    epsilon: float
    control: bool
    local: bool
    detector: str
    images: int
    size: Spread
    clean_accuracy: Spread
    error: Spread
    success: Spread
    auc: Spread
    eer: Spread
    detection: dict[float, Spread]
    undetected: dict[float, Spread]
    false_rejection: dict[float, Spread]
    zero_gradient: Spread | None

    @property
    def limited(self) -> bool:
        """Whether there is a change, and it is limited by epsilon or to the region."""
        return is_limited(self.norm, self.epsilon, local=self.local)

    @property
    def attackable(self) -> int:
        """How many images or pairs of all trainings are right before the attack."""
        return round(self.images * self.clean_accuracy.mean * self.clean_accuracy.trainings)


def read_findings(trials: Sequence[Trial], out: Path) -> list[Finding]:
    """The finished ones of the trials, in their order."""
    found = (Finding.read(trial, out) for trial in trials)
    return [finding for finding in found if finding is not None]


def l2_norms(trial: Trial[Any], out: Path) -> NDArray[np.float64]:
    """How large the changes of a finished trial are, (N,), for a control like it.

    Args:
        trial: that has finished.
        out: the experiment's folder.

    Raises:
        InputError: its file is damaged, or an earlier version wrote it.
    """
    finding = Finding.read(trial, out)
    assert finding is not None  # attacks are run before their controls
    if (norms := finding.scores().l2) is None:
        raise InputError(
            trial.path,
            "must hold the l2 norms of its changes, which controls are compared by",
            got="a file of an earlier version",
            fix=f"Remove {file_at(finding.stem, 'json')}: the same command then runs this trial again.",
        )
    return norms


def rows_of(findings: Sequence[Finding], detector: str | None = None) -> list[Row]:
    """One row per model, goal, label, norm and epsilon, in the order of the findings.

    Args:
        findings: of all trainings. Those without an attackable image are left out.
        detector: whose figures; None: each model's own. Models without it are left out.
    """
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        trial = finding.trial
        if finding.attackable and (detector is None or detector in finding.detectors):
            key = (trial.model, trial.goal, trial.label, trial.norm, trial.epsilon)
            groups.setdefault(key, []).append(finding)
    return [_row(group, detector) for group in groups.values()]


def facts_of_pairs(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The verification threshold of each attacked training, and the pairs that it comes from."""
    facts = {
        (finding.trial.model, finding.trial.training): finding.record.facts
        for finding in findings
        if isinstance(finding.trial, PairTrial)
    }
    return [{"model": model, "training": training} | its for (model, training), its in facts.items()]


def headline_epsilon(label: str, findings: Sequence[Finding]) -> float | None:
    """The largest size below the whole box at which an attack has been run."""
    sizes = [
        finding.trial.epsilon
        for finding in findings
        if finding.trial.label == label and finding.trial.limited
    ]
    return max(sizes, default=None)


def _row(group: Sequence[Finding], detector: str | None) -> Row:
    trial = group[0].trial
    name = detector or group[0].own_detector
    outcomes = [finding.detectors[name] for finding in group]
    return Row(
        model=trial.model,
        goal=trial.goal,
        label=trial.label,
        norm=trial.norm,
        epsilon=trial.epsilon,
        control=trial.attack is None,
        local=trial.local,
        detector=name,
        images=group[0].record.images,
        size=_spread([finding.record.mean_size for finding in group]),
        clean_accuracy=_spread([its.clean_accuracy for its in outcomes]),
        error=_complement(_spread([its.accuracy for its in outcomes])),
        success=_spread([its.success for its in outcomes]),
        auc=_spread([its.auc for its in outcomes]),
        eer=_spread([its.eer for its in outcomes]),
        detection=_at_points(outcomes, lambda its: its.detection),
        undetected=_at_points(outcomes, lambda its: its.undetected_success),
        false_rejection=_at_points(outcomes, lambda its: its.false_rejection),
        zero_gradient=Spread.of([its.zero_gradient_share for its in outcomes]),
    )


def _spread(estimates: Sequence[Estimate | float | None]) -> Spread:
    """Of a figure that some training has."""
    found = Spread.of(estimates)
    assert found is not None
    return found


def _at_points(
    outcomes: Sequence[OutcomeRecord], figure: Callable[[Detection], Estimate | None]
) -> dict[float, Spread]:
    """By false-rejection rate, a figure of the detections; without the rates at which no training has it."""
    spreads = {
        detections[0].point.false_rejection_rate: Spread.of([figure(each) for each in detections])
        for detections in zip(*(outcome.detections for outcome in outcomes), strict=True)
    }
    return {rate: found for rate, found in spreads.items() if found is not None}


def _complement(accuracy: Spread) -> Spread:
    low, high = (None if bound is None else 1 - bound for bound in (accuracy.high, accuracy.low))
    return replace(accuracy, mean=1 - accuracy.mean, low=low, high=high)
