"""Finished trials, and the rows of tables: means over the trainings of a model."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError
from robustness.config.attacks import PairGoal
from robustness.detectors.rejection_threshold import RejectionThreshold
from robustness.rejection.pair_trial import PairTrial
from robustness.rejection.trial import Trial
from robustness.rejection.trial_files import TrialScores, file_at, read_pictures, read_record, read_scores

# A change of this size can turn any image into any other, so epsilon no longer limits the attack.
WHOLE_BOX = 1.0


@dataclass(frozen=True)
class Finding:
    """A finished trial.

    Attributes:
        trial: what was done.
        record: its JSON file.
        stem: its files, without a suffix.
    """

    trial: Trial
    record: dict[str, Any]
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
    def detectors(self) -> dict[str, dict[str, Any]]:
        """Detector -> its outcome as plain values, the model's own first."""
        return self.record["detectors"]

    @property
    def own(self) -> dict[str, Any]:
        """The outcome of the model's own detector."""
        return next(iter(self.detectors.values()))

    @property
    def points(self) -> dict[float, RejectionThreshold]:
        """False-rejection rate -> what the model's own detector rejects at it."""
        points = (RejectionThreshold(**detection["point"]) for detection in self.own["detections"])
        return {point.false_rejection_rate: point for point in points}

    def undetected_error(self, rate: float) -> float:
        """Share of all images that are wrong after the attack and not rejected at that rate."""
        scores = self.scores()
        rejected = self.points[rate].rejects(scores.attacked[next(iter(self.detectors))])
        return float((~scores.verdicts.correct & ~rejected).mean())

    def scores(self) -> TrialScores:
        """What every image scored."""
        return read_scores(self.stem, self.record)

    def pictures(self) -> dict[str, NDArray[np.float32]]:
        """The first few images: clean, attacked, and of pairs the references."""
        return read_pictures(self.stem, self.record)


@dataclass(frozen=True)
class Spread:
    """A figure over the trainings of a model, or of its only one with the bootstrap's interval.

    Attributes:
        mean: of the trainings.
        sd: over them, n - 1 in the denominator; None for a single one.
        low, high: 95 % bootstrap interval of a single training; None for several, or where there is none.
        trainings: how many.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    trainings: int

    @classmethod
    def of(cls, estimates: Sequence[dict[str, float] | float | None]) -> Spread | None:
        """Over outcomes; None if no training has the figure."""
        there = [each for each in estimates if each is not None]
        values = [each["value"] if isinstance(each, dict) else each for each in there]
        if not values:
            return None
        single = there[0] if len(there) == 1 and isinstance(there[0], dict) else {}
        sd = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), sd, single.get("low"), single.get("high"), len(values))


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
    detection: dict[str, Spread]
    undetected: dict[str, Spread]
    false_rejection: dict[str, Spread]
    zero_gradient: Spread | None


@dataclass(frozen=True)
class WorstCase:
    """The attack and size under which a model gives most wrong answers; means over its trainings.

    Attributes:
        label, epsilon: which attack.
        wrong: share of all images that are wrong under it and not rejected, those wrong before it included.
        clean_error: share of these images that are wrong before it.
    """

    label: str
    epsilon: float
    wrong: float
    clean_error: float


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
        findings: of all trainings.
        detector: whose figures; None: each model's own. Models without it are left out.
    """
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        trial = finding.trial
        if detector is None or detector in finding.detectors:
            key = (trial.model, trial.goal, trial.label, trial.norm, trial.epsilon)
            groups.setdefault(key, []).append(finding)
    return [_row(group, detector) for group in groups.values()]


def facts_of_pairs(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The verification threshold of each attacked training, and the pairs that it comes from."""
    facts = {
        (finding.trial.model, finding.trial.training): finding.record["facts"]
        for finding in findings
        if isinstance(finding.trial, PairTrial)
    }
    return [{"model": model, "training": training} | its for (model, training), its in facts.items()]


def worst_rows(rows: Sequence[Row], *, rate: str) -> dict[str, Row]:
    """The attack and size of each model with the most undetected successes; the whole box is left out.

    Args:
        rows: of one goal, with the models' own detectors.
        rate: of false rejections.
    """
    worst: dict[str, Row] = {}
    for row in rows:
        if is_limited(row) and not row.control:
            so_far = worst.setdefault(row.model, row)
            if row.undetected[rate].mean > so_far.undetected[rate].mean:
                worst[row.model] = row
    return worst


def worst_cases(findings: Sequence[Finding], *, rate: float) -> dict[str, WorstCase]:
    """The worst case of each model; the whole box is left out.

    Unlike the success of an attack, it cannot be small because the model is wrong without an attack.

    Args:
        findings: of one goal.
        rate: of false rejections, of the models' own detectors.
    """
    groups: dict[tuple[str, str, str, float], list[Finding]] = {}
    for finding in findings:
        trial = finding.trial
        if trial.attack is not None and is_limited(trial):
            groups.setdefault((trial.model, trial.label, trial.norm, trial.epsilon), []).append(finding)
    worst: dict[str, WorstCase] = {}
    for (model, label, _, epsilon), group in groups.items():
        clean_error = statistics.fmean(1 - each.own["clean_accuracy"]["value"] for each in group)
        wrong = statistics.fmean(each.undetected_error(rate) for each in group)
        if model not in worst or wrong > worst[model].wrong:
            worst[model] = WorstCase(label, epsilon, wrong, clean_error)
    return worst


def headline_epsilon(label: str, findings: Sequence[Finding]) -> float | None:
    """The largest size below the whole box at which an attack has been run."""
    sizes = [
        finding.trial.epsilon
        for finding in findings
        if finding.trial.label == label and is_limited(finding.trial)
    ]
    return max(sizes, default=None)


def is_limited(change: Trial | Row) -> bool:
    """Whether there is a change, and it is limited by epsilon or to a region."""
    local = change.local if isinstance(change, Row) else is_local(change)
    return change.epsilon > 0 and (local or change.norm != "linf" or change.epsilon < WHOLE_BOX)


def is_local(trial: Trial) -> bool:
    """Whether it changes a region only, whose epsilon says little of the whole change."""
    return trial.traits is not None and trial.traits.local


def _row(group: Sequence[Finding], detector: str | None) -> Row:
    trial = group[0].trial
    name = detector or next(iter(group[0].detectors))
    outcomes = [finding.detectors[name] for finding in group]
    points = outcomes[0]["detections"]

    def spread(key: str) -> Spread:
        found = Spread.of([outcome[key] for outcome in outcomes])
        assert found is not None  # each outcome has it
        return found

    size = Spread.of([finding.record["mean_size"] for finding in group])
    assert size is not None  # each record has it

    def at_points(key: str) -> dict[str, Spread]:
        spreads = {
            f"{point['point']['false_rejection_rate']:g}": Spread.of(
                [outcome["detections"][number][key] for outcome in outcomes]
            )
            for number, point in enumerate(points)
        }
        return {rate: found for rate, found in spreads.items() if found is not None}

    return Row(
        model=trial.model,
        goal=trial.goal,
        label=trial.label,
        norm=trial.norm,
        epsilon=trial.epsilon,
        control=trial.attack is None,
        local=is_local(trial),
        detector=name,
        images=group[0].record["images"],
        size=size,
        clean_accuracy=spread("clean_accuracy"),
        error=_complement(spread("accuracy")),
        success=spread("success"),
        auc=spread("auc"),
        eer=spread("eer"),
        detection=at_points("detection"),
        undetected=at_points("undetected_success"),
        false_rejection=at_points("false_rejection"),
        zero_gradient=Spread.of([outcome["zero_gradient_share"] for outcome in outcomes]),
    )


def _complement(accuracy: Spread) -> Spread:
    low, high = (None if bound is None else 1 - bound for bound in (accuracy.high, accuracy.low))
    return replace(accuracy, mean=1 - accuracy.mean, low=low, high=high)
