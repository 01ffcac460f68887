"""The worst that was measured of each model, over all attacks and sizes."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from robustness.rejection.findings import Finding, Row, Spread


@dataclass(frozen=True)
class WorstCase:
    """The attack and size under which a model gives most wrong answers; means over its trainings.

    Attributes:
        label, norm, epsilon: which attack.
        images: of one training, or pairs.
        wrong: share of all images that are wrong under it and not rejected, those wrong before it included.
        low, high: 95 % interval of a single training; None for several.
        clean_error: share of these images that are wrong before it.
        compared: attacks and sizes of which this is the worst.
    """

    label: str
    norm: str
    epsilon: float
    images: int
    wrong: float
    low: float | None
    high: float | None
    clean_error: float
    compared: int


def worst_rows(rows: Sequence[Row], *, rate: float) -> dict[str, Row]:
    """The attack and size of each model with the most undetected successes; the whole box is left out.

    Args:
        rows: of one goal, with the models' own detectors.
        rate: of false rejections.
    """
    worst: dict[str, Row] = {}
    for row in rows:
        if row.limited and not row.control:
            so_far = worst.setdefault(row.model, row)
            if row.undetected[rate].mean > so_far.undetected[rate].mean:
                worst[row.model] = row
    return worst


def worst_cases(findings: Sequence[Finding], *, rate: float) -> dict[str, WorstCase]:
    """The worst case of each model; the whole box is left out.

    Unlike the success of an attack, it cannot be small because the model is wrong without an attack.

    Args:
        findings: of one goal. Those without an attackable image are left out.
        rate: of false rejections, of the models' own detectors.
    """
    groups: dict[tuple[str, str, str, float], list[Finding]] = {}
    for finding in findings:
        trial = finding.trial
        if trial.attack is not None and finding.attackable and trial.limited:
            groups.setdefault((trial.model, trial.label, trial.norm, trial.epsilon), []).append(finding)
    worst: dict[str, WorstCase] = {}
    compared = Counter(model for model, *_ in groups)
    for (model, *_), group in groups.items():
        case = _case(group, compared=compared[model], rate=rate)
        if model not in worst or case.wrong > worst[model].wrong:
            worst[model] = case
    return worst


def _case(group: Sequence[Finding], *, compared: int, rate: float) -> WorstCase:
    """Of the trainings of a model under one attack of one size."""
    trial, wrong = group[0].trial, Spread.of([finding.undetected_error(rate) for finding in group])
    assert wrong is not None  # a group has a finding
    return WorstCase(
        label=trial.label,
        norm=trial.norm,
        epsilon=trial.epsilon,
        images=group[0].record.images,
        wrong=wrong.mean,
        low=wrong.low,
        high=wrong.high,
        clean_error=statistics.fmean(1 - each.own.clean_accuracy.value for each in group),
        compared=compared,
    )
