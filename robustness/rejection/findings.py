"""What finished trials have found: rows over the trainings of a model, for tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robustness.attacks import PairGoal
from robustness.detectors.calibration import OperatingPoint
from robustness.rejection.trials import Trial, TrialScores, file_at

# A change of this size can turn any image into any other: epsilon says nothing more about the attack.
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
        """The finding of a trial, None where it has not finished."""
        stem = out / trial.path
        path = file_at(stem, "json")
        if not path.is_file():
            return None
        return cls(trial, json.loads(path.read_text(encoding="utf-8")), stem)

    @property
    def detectors(self) -> dict[str, dict[str, Any]]:
        """Detector -> its outcome as plain values, the model's own first."""
        return self.record["detectors"]

    @property
    def own(self) -> dict[str, Any]:
        """The outcome of the model's own detector."""
        return next(iter(self.detectors.values()))

    @property
    def points(self) -> dict[float, OperatingPoint]:
        """False-rejection rate -> what the model's own detector rejects at it."""
        points = (OperatingPoint(**detection["point"]) for detection in self.own["detections"])
        return {point.false_rejection_rate: point for point in points}

    def scores(self) -> TrialScores:
        """What every image scored."""
        return TrialScores.read(file_at(self.stem, "parquet"))

    def classes(self) -> NDArray[np.int64]:
        """(3, N): the true class of every image, and the predicted one before and after; not of pairs."""
        names = ["label", "clean_predicted", "predicted"]
        table = pq.read_table(file_at(self.stem, "parquet"), columns=names)
        return np.stack([table[name].to_numpy() for name in names])


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
        """Over outcomes; None where no training has the figure."""
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
        detector: whose figures these are.
        images: of one training, or pairs.
        size: mean norm of the changes, which may be less than epsilon.
        clean_accuracy: share right before it; of pairs, those that can be attacked.
        error: share wrong after it.
        success: of the images right before, share that the attacker has what he wants of.
        auc, eer: of all clean against all changed images.
        detection: by false-rejection rate, share of the changed images rejected.
        undetected: by rate, share of the images right before the attack that succeed and are not rejected.
        false_rejection: by rate, share of the clean images rejected.
        zero_gradient: of the images right before, share that gave the attack no gradient to follow; None
            where it asked for none.
    """

    model: str
    goal: PairGoal | None
    label: str
    norm: str
    epsilon: float
    control: bool
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


def read_findings(trials: Sequence[Trial], out: Path) -> list[Finding]:
    """The finished ones of the trials, in their order."""
    found = (Finding.read(trial, out) for trial in trials)
    return [finding for finding in found if finding is not None]


def rows_of(findings: Sequence[Finding], detector: str | None = None) -> list[Row]:
    """A row for every model, goal, label, norm and epsilon, in the order of the findings.

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
    """Of every training whose verification was attacked: its threshold, and the pairs it comes from."""
    facts = {
        (finding.trial.model, finding.trial.training): finding.record["facts"]
        for finding in findings
        if finding.trial.goal is not None
    }
    return [{"model": model, "training": training} | its for (model, training), its in facts.items()]


def worst_rows(rows: Sequence[Row], *, rate: str) -> dict[str, Row]:
    """Of each model the attack and size that get most past its detector; the whole box is left out.

    Args:
        rows: of one goal, with the models' own detectors.
        rate: of false rejections.
    """
    worst: dict[str, Row] = {}
    for row in rows:
        if _is_limited(row) and not row.control:
            so_far = worst.setdefault(row.model, row)
            if row.undetected[rate].mean > so_far.undetected[rate].mean:
                worst[row.model] = row
    return worst


def headline_epsilon(label: str, findings: Sequence[Finding]) -> float | None:
    """The largest size of an attack that has been run and is smaller than the whole box."""
    sizes = [
        finding.trial.epsilon
        for finding in findings
        if finding.trial.label == label and _is_limited(finding.trial)
    ]
    return max(sizes, default=None)


def _is_limited(change: Trial | Row) -> bool:
    """Whether there is a change, and epsilon says something about it."""
    return change.epsilon > 0 and (change.norm != "linf" or change.epsilon < WHOLE_BOX)


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
