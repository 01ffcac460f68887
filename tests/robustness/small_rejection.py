"""A small rejection experiment, and findings whose scores a test chooses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from faceverif.config.reading import validate_config
from robustness.detectors.rejection_threshold import RejectionThreshold
from robustness.rejection.bootstrap import Estimate
from robustness.rejection.config import RejectionConfig
from robustness.rejection.findings import Finding, read_findings
from robustness.rejection.image_trial import ImageTrial
from robustness.rejection.outcome import Detection
from robustness.rejection.plan import plan_trials
from robustness.rejection.trial_record import OutcomeRecord, TrialRecord

TRAINING: dict[str, Any] = {
    "data": {"name": "digits"},
    "network": {"name": "strided_conv", "embedding_dim": 8, "width": 8},
    "head": {"name": "softmax"},
    "optimizer": {"name": "adamw", "learning_rate": 3e-3},
    "schedule": {"name": "cosine"},
    "training": {"epochs": 3, "batch_size": 64, "evaluate_every_epochs": 3},
}
LGM = {"head": {"name": "lgm", "alpha": 1.0}, "penalties": [{"name": "likelihood", "weight": 1.0}]}


def settings(**changes: Any) -> RejectionConfig:
    plain: dict[str, Any] = {
        "name": "small",
        "title": "Small",
        "training": TRAINING,
        "models": [
            {"name": "softmax", "settings": {}, "detector": "affinity"},
            {"name": "l-gm", "settings": LGM, "detector": "lgm_class"},
        ],
        "fit": 200,
        "calibration": 120,
        "evaluation": 60,
        "rates": [0.05, 0.2],
        "detectors": ["energy", "lgm_mixture"],
        "controls": {"changes": ["noise"], "images": 20},
        "attacks": [
            {"name": "fgsm", "epsilons": [0.1, 0.3]},
            {"name": "targeted_fgsm", "epsilons": [0.3]},
            {"name": "pgd", "epsilons": [0.1, 0.3, 1], "steps": 5, "images": 30},
            {"name": "transfer", "epsilons": [0.3], "steps": 5, "source": "softmax"},
            {
                "name": "adaptive",
                "epsilons": [0.1, 0.3],
                "rate": 0.2,
                "steps": 3,
                "restarts": 1,
                "images": 20,
            },
        ],
        "published": [{"model": "l-gm", "attack": "fgsm", "epsilon": 0.3, "error": 0.81, "eer": 0.031}],
    }
    return validate_config(RejectionConfig, plain | changes, source="test")


def findings_of(config: RejectionConfig, out: Path) -> list[Finding]:
    """Of all trials that are planned, in their order."""
    models = [model.name for model in config.models]
    return read_findings([trial for model in models for trial in plan_trials(config, model, 0)], out)


def unsealed(path: Path) -> dict[str, Any]:
    """A record as earlier versions wrote it."""
    record = json.loads(path.read_text())
    return {name: record[name] for name in record if name not in ("sha256", "files")}


def finding(
    label: str,
    epsilon: float,
    success: list[bool],
    tmp_path: Path,
    *,
    rejected: list[bool] | list[float] | None = None,
    unsteady: list[str] | None = None,
    samples: int | None = None,
    rate: float = 0.2,
    **own: Any,
) -> Finding:
    """A finding whose scores are on disk; 1 where rejected, else 0, with a threshold between them.

    An adaptive attack knows the threshold of the rate. What answers at random is not known, unless it is
    given.
    """
    norm = "l2" if label in ("deepfool", "carlini_wagner") else "linf"
    attack = {"name": label, "norm": norm, "epsilons": [0.1]} | (
        {"rate": rate} if label == "adaptive" else {}
    )
    attack |= {"samples": samples} if samples is not None else {}
    [config] = settings(attacks=[attack], published=[]).attacks
    trial = ImageTrial("a", 0, label, norm, epsilon, config, None)
    stem = tmp_path / trial.path
    stem.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "clean_correct": [True] * len(success),
        "correct": [False] * len(success),
        "success": success,
        "size": [epsilon] * len(success),
        "attacked.x": [float(each) for each in rejected or [False] * len(success)],
    }
    pq.write_table(pa.table(columns), stem.with_name(f"{stem.name}.parquet"))
    outcome = {
        "clean_accuracy": sure(0.9),
        "accuracy": sure(0.5),
        "success": sure(sum(success) / len(success)),
        "zero_gradient_share": 0.0,
        "auc": sure(0.5),
        "eer": sure(0.5),
        "detections": [detection(rate, 0.7 - rate) for rate in (0.05, 0.2)],  # the largest rate rejects least
    }
    record = TrialRecord(
        about={},
        images=len(success),
        mean_size=epsilon,
        seconds=1.0,
        unsteady=unsteady,
        detectors={"x": OutcomeRecord.model_validate(outcome | own)},
    )
    return Finding(trial, record, stem)


def sure(value: float) -> Estimate:
    """A figure without an interval around it."""
    return Estimate(value, value, value)


def detection(rate: float, threshold: float, *, undetected: float = 0.0) -> Detection:
    """A detector at a threshold that notices no attack."""
    point = RejectionThreshold(threshold, rate, calibration_size=100)
    return Detection(point, sure(rate), sure(0.0), None, sure(undetected))
