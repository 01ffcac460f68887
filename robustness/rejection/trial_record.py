"""What the JSON file of a trial holds, and must hold to be read; more may stand in it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from faceverif.config.section import Count
from faceverif.intervals import exact_interval
from robustness.rejection.bootstrap import Estimate
from robustness.rejection.outcome import Detection


class _Part(BaseModel):
    """Numbers may be NaN where a figure is not defined."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=True)


class OutcomeRecord(_Part):
    """What is read again of an `Outcome`."""

    clean_accuracy: Estimate
    accuracy: Estimate
    success: Estimate | None
    zero_gradient_share: float | None
    auc: Estimate
    eer: Estimate
    detections: Annotated[tuple[Detection, ...], Field(min_length=1)]


class TrialRecord(_Part):
    """A trial's JSON file.

    Attributes:
        about: settings and hashes that the numbers depend on.
        facts: about the clean images; earlier versions kept none.
        images: how many, or pairs.
        mean_size: of the changes.
        seconds: that the trial took.
        unsteady: what answered differently when it was asked twice; None: an earlier version did not ask.
        detectors: the model's own first.
        files: hashes of the other two files; earlier versions kept none.
    """

    about: dict[str, Any]
    facts: dict[str, Any] = {}
    images: Count
    mean_size: float
    seconds: float
    unsteady: tuple[str, ...] | None = None
    detectors: Annotated[dict[str, OutcomeRecord], Field(min_length=1)]
    files: dict[str, str] = {}


def with_exact_intervals(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose shares have exact intervals.

    Earlier versions drew them, which is too narrow for rare shares.

    Args:
        record: a trial's JSON file, of any version; it is changed.
    """
    images = record["images"]
    for outcome in record["detectors"].values():
        right = outcome["clean_accuracy"]["value"] * images
        successes = outcome["success"]["value"] * right if outcome["success"] else 0.0
        totals = {
            "clean_accuracy": images,
            "accuracy": images,
            "success": right,
            "false_rejection": images,
            "detection": images,
            "detection_of_successes": successes,
            "undetected_success": right,
        }
        for part in (outcome, *outcome["detections"]):
            for name in totals.keys() & part.keys():
                if (share := part[name]) is not None:
                    count, total = round(share["value"] * totals[name]), round(totals[name])
                    share["low"], share["high"] = exact_interval(count, total)
    return record
