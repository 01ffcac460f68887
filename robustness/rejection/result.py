"""result.json: every figure of the experiment that has finished, for other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_prep.atomic import write_text
from faceverif.file_names import RESULT_NAME
from faceverif.provenance import describe_software
from robustness.detectors.rejection_threshold import CALIBRATION_RULE
from robustness.rejection.bootstrap import INTERVAL_RULE
from robustness.rejection.controls import SIZE_RULE
from robustness.rejection.findings import Finding, facts_of_pairs, rows_of
from robustness.rejection.headline import headlines
from robustness.rejection.masking import check_masking
from robustness.rejection.open_set import STRANGERS_RULE
from robustness.rejection.plan import Plan


def write_result(plan: Plan, findings: Sequence[Finding], out: Path) -> dict[str, Any]:
    """Write result.json, and return what it holds.

    Args:
        plan: the experiment.
        findings: of the trials that have finished.
        out: the experiment's folder.
    """
    config = plan.config
    result = {
        "name": config.name,
        "title": config.title,
        "source": config.source,
        "headlines": [asdict(each) for each in headlines(findings, rate=max(config.rates))],
        "finished": len(findings),
        "planned": len(plan.trials),
        "models": {
            model.name: {
                "detector": model.detector,
                "trainings": [str(plan.runs[model.name, training]) for training in range(model.trainings)],
            }
            for model in config.models
        },
        "rows": [asdict(row) for row in rows_of(findings)],
        "other_detectors": [
            asdict(row) for name in config.detectors for row in rows_of(findings, detector=name)
        ],
        "pairs": facts_of_pairs(findings),
        "checks": [asdict(check) for check in check_masking(findings)],
        "rules": {
            "threshold": CALIBRATION_RULE,
            "interval": INTERVAL_RULE,
            "control": SIZE_RULE,
            "pairs": STRANGERS_RULE,
        },
        "provenance": describe_software(),
    }
    write_text(out / RESULT_NAME, json.dumps(result, indent=1) + "\n")
    return result
