"""`faceverif reject`: attacks models, tells attacked inputs from clean ones, and says how far that goes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_prep.atomic import write_text
from data_prep.errors import InputError
from data_prep.lock import filled
from data_prep.progress import duration, say
from faceverif.classification.config import ClassificationConfig
from faceverif.config.reading import config_text, validate_config
from faceverif.config.section import changed_settings, merged
from faceverif.provenance import describe_software
from robustness.detectors.calibration import CALIBRATION_RULE
from robustness.loaded_run import run_sha256
from robustness.rejection.bootstrap import INTERVAL_RULE
from robustness.rejection.config import ModelConfig, RejectionConfig
from robustness.rejection.controls import SIZE_RULE
from robustness.rejection.findings import Finding, facts_of_pairs, read_findings, rows_of
from robustness.rejection.masking import check_masking
from robustness.rejection.pair_subject import STRANGERS_RULE
from robustness.rejection.pair_trials import run_pair_trial
from robustness.rejection.report import write_rejection_report
from robustness.rejection.subjects import Key, Subjects, key_of, source_of
from robustness.rejection.trials import Trial, plan_trials, run_trial

RESULT_NAME = "result.json"

# Trains a classifier into a folder, goes on where it was killed, leaves a finished one alone.
Trainer = Callable[[ClassificationConfig, Path], None]


def run_rejection(config: RejectionConfig, out: Path, *, train: Trainer) -> Path:
    """Train what is to be trained, make every trial that has not finished, write result.json and report.html.

    Killed, the same call goes on. result.json is written again after each training that had trials to run.

    Args:
        config: the experiment.
        out: its folder.
        train: how to train; this package never does.

    Returns:
        path of the page.

    Raises:
        InputError: runs are missing, data are too few, a detector does not fit its model, or trials in OUT
            were made with other settings or from other data; or OUT cannot be made or is in use.
    """
    with filled(out, command="faceverif reject"):
        return _run_rejection(config, out, train=train)


def _run_rejection(config: RejectionConfig, out: Path, *, train: Trainer) -> Path:
    runs = {
        (model.name, training): run
        for model in config.models
        for training, run in enumerate(_runs(config, model, out, train=train))
    }
    subjects = Subjects(config, runs)
    planned = [trial for model, training in runs for trial in plan_trials(config, model, training)]
    hashes = {key: run_sha256(run) for key, run in runs.items()}
    about = {trial: _about(config, trial, hashes) for trial in planned}
    finished = read_findings(planned, out)
    for finding in finished:
        _refuse_other_settings(finding, about[finding.trial])
    if len(finished) < len(planned):
        subjects.refuse_needless_detectors()
    write_text(out / "config.yaml", config_text(config))
    result: dict[str, Any] = {}
    for number, (model, training) in enumerate(sorted(runs, key=lambda key: key[1]), start=1):
        mine = [trial for trial in planned if (trial.model, trial.training) == (model, training)]
        missing = [trial for trial in mine if Finding.read(trial, out) is None]
        say(
            f"{number}/{len(runs)}  {model}, training {training}: {len(missing)} of {len(mine)} trials to run"
        )
        subjects.prepare(missing)
        for finding in read_findings(mine, out):
            _refuse_other_facts(finding, subjects.facts_beside(finding.trial, missing))
        for trial in missing:
            _run(trial, subjects, out, seed=config.seed, about=about[trial])
            _say_trial(Finding.read(trial, out))
        if missing or not result:
            result = _write_result(config, planned, runs, out)
    return write_rejection_report(config, read_findings(planned, out), result, out)


def _run(trial: Trial, subjects: Subjects, out: Path, *, seed: int, about: dict[str, Any]) -> None:
    source = subjects.source_of(trial)
    if trial.goal is not None:
        run_pair_trial(trial, subjects.of_pairs(key_of(trial)), out, source=source, seed=seed, about=about)
    else:
        run_trial(trial, subjects.closed(key_of(trial)), out, source=source, seed=seed, about=about)


def _runs(config: RejectionConfig, model: ModelConfig, out: Path, *, train: Trainer) -> Iterator[Path]:
    """The folders of a model's trainings; those that are made here are finished first."""
    yield from model.runs
    for seed in model.seeds if model.settings is not None else ():
        settings = merged(config.training or {}, model.settings or {}) | {"seed": seed}
        run = out / "models" / model.name / f"seed{seed}"
        train(validate_config(ClassificationConfig, settings, source=f"model {model.name}"), run)
        yield run


def _about(config: RejectionConfig, trial: Trial, hashes: dict[Key, str]) -> dict[str, Any]:
    """What the numbers of a trial depend on."""
    model, source = config.model(trial.model), source_of(config, trial)
    kept = {"seed", "fit", "rates"}
    if trial.goal is None:
        splits = config.model_dump(mode="json", include=kept | {"calibration", "evaluation"})
    else:
        splits = config.model_dump(mode="json", include=kept | {"pairs"}, exclude={"pairs": {"attacks"}})
    return splits | {
        "trial": json.loads(json.dumps(trial.settings())),
        "detectors": [model.detector, *(name for name in config.detectors if name != model.detector)],
        "model_sha256": hashes[key_of(trial)],
        "source_sha256": None if source is None else hashes[source],
    }


def _refuse_other_settings(finding: Finding, about: dict[str, Any]) -> None:
    changes = changed_settings(finding.record["about"], about, may_change=())
    if changes:
        raise InputError(
            finding.trial.path,
            "must have been made with the settings asked for now",
            got=changes,
            fix=f"Set them back, remove {finding.stem.parent}, or name another --out.",
        )


def _refuse_other_facts(finding: Finding, facts: Mapping[str, Any]) -> None:
    """Older records hold fewer facts, which are compared as far as they go."""
    then = finding.record.get("facts", {})
    differing = [name for name in facts if name in then and not _agree(then[name], facts[name])]
    if differing:
        raise InputError(
            finding.trial.path,
            "must have been made from the data that are there now",
            got=", ".join(f"{name} {then[name]} -> {facts[name]}" for name in differing),
            fix=f"Give the data of then, remove {finding.stem.parent}, or name another --out.",
        )


def _agree(then: object, now: object) -> bool:
    """Whether two facts are the same; numbers but for what another machine or thread count rounds."""
    if isinstance(then, float) and isinstance(now, float):
        return math.isclose(then, now, rel_tol=1e-3, abs_tol=1e-6)
    return then == now


def _say_trial(finding: Finding | None) -> None:
    assert finding is not None  # it has just been run
    trial, own = finding.trial, finding.own
    label = trial.label if trial.goal is None else f"{trial.goal}, {trial.label}"
    say(
        f"    {label} {trial.norm} {trial.epsilon:g}: error {1 - own['accuracy']['value']:.1%}, "
        f"EER {own['eer']['value']:.1%} in {duration(finding.record['seconds'])}"
    )


def _write_result(
    config: RejectionConfig, planned: list[Trial], runs: dict[Key, Path], out: Path
) -> dict[str, Any]:
    """result.json, of what has finished; returned as well."""
    findings = read_findings(planned, out)
    result = {
        "name": config.name,
        "title": config.title,
        "source": config.source,
        "finished": len(findings),
        "planned": len(planned),
        "models": {
            model.name: {
                "detector": model.detector,
                "trainings": [str(runs[model.name, training]) for training in range(model.trainings)],
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
