"""`faceverif reject`: attacks models, tells attacked inputs from clean ones, and says how far that goes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from data_prep.atomic import write_text
from data_prep.errors import InputError
from data_prep.lock import filled
from data_prep.progress import duration, say
from faceverif.classification.config import ClassificationConfig
from faceverif.config import validate_config
from faceverif.config_base import changed_settings, merged
from faceverif.provenance import describe_software
from robustness.attacked_model import AttackedModel
from robustness.bootstrap import INTERVAL_RULE
from robustness.calibration import CALIBRATION_RULE
from robustness.controls import SIZE_RULE
from robustness.findings import Finding, facts_of_pairs, read_findings, rows_of
from robustness.finished_run import FinishedRun, load_run, run_sha256
from robustness.masking import check_masking
from robustness.pair_subject import STRANGERS_RULE, PairSubject, load_pair_subject
from robustness.pair_trials import run_pair_trial
from robustness.rejection_config import ModelConfig, RejectionConfig, TransferConfig
from robustness.rejection_report import write_rejection_report
from robustness.subject import FittedModel, Subject, fit_model, fits, load_subject
from robustness.trials import Trial, plan_trials, run_trial

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
    subjects = _Subjects(config, runs)
    planned = [trial for model, training in runs for trial in plan_trials(config, model, training)]
    hashes = {key: run_sha256(run) for key, run in runs.items()}
    about = {trial: _about(config, trial, hashes) for trial in planned}
    finished = read_findings(planned, out)
    for finding in finished:
        _refuse_other_settings(finding, about[finding.trial])
    if len(finished) < len(planned):
        subjects.refuse_needless_detectors()
    write_text(out / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
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


_Key = tuple[str, int]


class _Subjects:
    """Models with their detectors, loaded when first asked for."""

    def __init__(self, config: RejectionConfig, runs: dict[_Key, Path]) -> None:
        self._config, self._runs = config, runs
        self._loaded: dict[_Key, FinishedRun] = {}
        self._fitted: dict[_Key, FittedModel] = {}
        self._closed: dict[_Key, Subject] = {}
        self._open: dict[_Key, PairSubject] = {}

    def refuse_needless_detectors(self) -> None:
        """Stop where a detector asked for would be in no table.

        Raises:
            InputError: it fits none of the models.
        """
        for name in self._config.detectors:
            if not any(fits(name, self._run(key).model) for key in self._runs):
                raise InputError(
                    "detectors",
                    "must each fit one of the models",
                    got=f"{name}, which fits none",
                    fix="Leave it out, or add a model that has what it needs.",
                )

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Load what these trials need, so that what is missing is said before the first of them."""
        for trial in trials:
            if trial.goal is None:
                self.closed(_key(trial))
            else:
                self.of_pairs(_key(trial))
            self.source_of(trial)

    def facts_beside(self, trial: Trial, missing: Sequence[Trial]) -> Mapping[str, Any]:
        """What a finished trial must agree with: those of missing ones on the same images; else none."""
        if not any((other.goal is None) == (trial.goal is None) for other in missing):
            return {}
        key = _key(trial)
        return self.closed(key).facts if trial.goal is None else self.of_pairs(key).facts

    def closed(self, key: _Key) -> Subject:
        """As attacks on its classes see it."""
        if key not in self._closed:
            self._closed[key] = load_subject(self._config, *self._fit(key))
        return self._closed[key]

    def of_pairs(self, key: _Key) -> PairSubject:
        """As attacks on its verification see it."""
        if key not in self._open:
            self._open[key] = load_pair_subject(self._config, *self._fit(key))
        return self._open[key]

    def source_of(self, trial: Trial) -> AttackedModel | None:
        """The model that a transfer attack knows.

        Raises:
            InputError: it takes other images, or knows other classes where classes are attacked.
        """
        if (key := _source(self._config, trial)) is None:
            return None
        source, attacked = self._run(key), self._run(_key(trial))
        if not source.sees_as(attacked, classes=trial.goal is None):
            raise InputError(
                "transfer.source",
                f"must take the images that {trial.model} takes"
                + (", and know its classes" if trial.goal is None else ""),
                got=f"{key[0]}, which does not",
                fix="Name a model that was trained on the same data.",
            )
        return source.model

    def _run(self, key: _Key) -> FinishedRun:
        if key not in self._loaded:
            self._loaded[key] = load_run(self._runs[key], data_path=self._config.data_path)
        return self._loaded[key]

    def _fit(self, key: _Key) -> tuple[FittedModel, FinishedRun]:
        if key not in self._fitted:
            self._fitted[key] = fit_model(self._config, self._config.model(key[0]), self._run(key))
        return self._fitted[key], self._run(key)


def _key(trial: Trial) -> _Key:
    return trial.model, trial.training


def _run(trial: Trial, subjects: _Subjects, out: Path, *, seed: int, about: dict[str, Any]) -> None:
    source = subjects.source_of(trial)
    if trial.goal is not None:
        run_pair_trial(trial, subjects.of_pairs(_key(trial)), out, source=source, seed=seed, about=about)
    else:
        run_trial(trial, subjects.closed(_key(trial)), out, source=source, seed=seed, about=about)


def _source(config: RejectionConfig, trial: Trial) -> _Key | None:
    if not isinstance(trial.attack, TransferConfig):
        return None
    name = trial.attack.source
    return name, trial.training % config.model(name).trainings


def _runs(config: RejectionConfig, model: ModelConfig, out: Path, *, train: Trainer) -> Iterator[Path]:
    """The folders of a model's trainings; those that are made here are finished first."""
    yield from model.runs
    for seed in model.seeds if model.settings is not None else ():
        settings = merged(config.training or {}, model.settings or {}) | {"seed": seed}
        run = out / "models" / model.name / f"seed{seed}"
        train(validate_config(ClassificationConfig, settings, source=f"model {model.name}"), run)
        yield run


def _about(config: RejectionConfig, trial: Trial, hashes: dict[_Key, str]) -> dict[str, Any]:
    """What the numbers of a trial depend on."""
    model, source = config.model(trial.model), _source(config, trial)
    kept = {"seed", "fit", "rates"}
    if trial.goal is None:
        splits = config.model_dump(mode="json", include=kept | {"calibration", "evaluation"})
    else:
        splits = config.model_dump(mode="json", include=kept | {"pairs"}, exclude={"pairs": {"attacks"}})
    return splits | {
        "trial": json.loads(json.dumps(trial.settings())),
        "detectors": [model.detector, *(name for name in config.detectors if name != model.detector)],
        "model_sha256": hashes[_key(trial)],
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
    config: RejectionConfig, planned: list[Trial], runs: dict[_Key, Path], out: Path
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
