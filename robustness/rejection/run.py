"""`faceverif reject`: attacks models, rejects what looks attacked, and measures how well that works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from data_prep.atomic import write_text
from data_prep.counted import counted
from data_prep.lock import filled
from data_prep.progress import duration, say
from faceverif.classification.config import ClassificationConfig
from faceverif.config.reading import config_text
from faceverif.file_names import CONFIG_NAME
from faceverif.report.numbers import percent
from robustness.rejection.config import RejectionConfig
from robustness.rejection.findings import Finding, l2_norms, read_findings
from robustness.rejection.models import CalibratedModels
from robustness.rejection.plan import Plan, plan_trials
from robustness.rejection.report import write_rejection_report
from robustness.rejection.result import write_result
from robustness.rejection.resume import refuse_other_facts, refuse_other_settings
from robustness.rejection.trainings import own_trainings
from robustness.rejection.trial import Key, Trial
from robustness.rejection.trial_files import keep_trial
from robustness.rejection.unfit_models import Prospect, prospect, refuse_unfit_models

# Trains a classifier into a folder, continues a killed training, leaves a finished one alone.
Trainer = Callable[[ClassificationConfig, Path], None]
# A training's folder, and its settings where the experiment makes it itself.
_Training = tuple[Path, ClassificationConfig | None]


def run_rejection(config: RejectionConfig, out: Path, *, train: Trainer) -> Path:
    """Run every trial that has not finished, after training the models that need it, and report.

    The same call continues a killed experiment. result.json is written after each training whose trials were
    run, and again at the end.

    Args:
        config: the experiment.
        out: its folder.
        train: how to train; this package never does.

    Returns:
        path of the page.

    Raises:
        InputError: before any training: runs are missing, data are too few, or a detector does not fit its
            model. Before any attack: trials in OUT were made with other settings or from other data, or a
            model lacks what an attack needs. OUT cannot be made or is in use.
    """
    with filled(out, command="faceverif reject"):
        trainings = _trainings(config, out)
        runs = {key: run for key, (run, _) in trainings.items()}
        models = CalibratedModels(config, runs)
        _refuse_unfit(config, models, trainings, out)
        for run, settings in trainings.values():
            if settings is not None:
                train(settings, run)
        plan = Plan.of(config, runs)
        _check_finished(plan, models, out)
        write_text(out / CONFIG_NAME, config_text(config))
        for number, ((model, training), trials) in enumerate(plan.by_training(), start=1):
            missing = [trial for trial in trials if Finding.read(trial, out) is None]
            say(
                f"{number}/{len(plan.runs)}  {model}, training {training}: "
                f"{len(missing)} of {counted(len(trials), 'trial')} to run"
            )
            if missing:
                _run_missing(plan, trials, missing, models, out)
                write_result(plan, read_findings(plan.trials, out), out)
        findings = read_findings(plan.trials, out)
        result = write_result(plan, findings, out)
        for headline in result["headlines"]:
            say(headline["text"])
        return write_rejection_report(config, findings, result, out)


def _trainings(config: RejectionConfig, out: Path) -> dict[Key, _Training]:
    """Every training, finished or not."""
    return {
        (model.name, number): training
        for model in config.models
        for number, training in enumerate(
            [(run, None) for run in model.runs]
            or [
                (out / "models" / model.name / f"seed{settings.seed}", settings)
                for settings in own_trainings(config, model)
            ]
        )
    }


def _refuse_unfit(
    config: RejectionConfig, models: CalibratedModels, trainings: Mapping[Key, _Training], out: Path
) -> None:
    """Stop before the first training where a trial is missing that could not be run."""
    names = [model.name for model in config.models]
    waiting = [
        key
        for key in trainings
        if any(Finding.read(trial, out) is None for trial in plan_trials(config, *key))
    ]

    def prospects(keys: Iterable[Key]) -> Iterator[Prospect]:
        for key in keys:
            yield prospect(names.index(key[0]), *trainings[key], load=partial(models.run, key))

    if waiting:  # else nothing but the report is left, which needs no model
        refuse_unfit_models(
            config, prospects(waiting), others=prospects(key for key in trainings if key not in waiting)
        )


def _check_finished(plan: Plan, models: CalibratedModels, out: Path) -> None:
    """Stop before the first trial where settings have changed, or a model lacks what an attack needs."""
    finished = read_findings(plan.trials, out)
    for finding in finished:
        refuse_other_settings(finding, plan.about[finding.trial])
    if len(finished) < len(plan.trials):
        done = {finding.trial for finding in finished}
        models.prepare([trial for trial in plan.trials if trial not in done])


def _run_missing(
    plan: Plan,
    trials: Sequence[Trial[Any]],
    missing: Sequence[Trial[Any]],
    models: CalibratedModels,
    out: Path,
) -> None:
    """Run what is missing of one training, beside finished trials on the same images."""
    kinds = {type(trial) for trial in missing}
    for finding in read_findings([trial for trial in trials if type(trial) in kinds], out):
        refuse_other_facts(finding, models.of(finding.trial).facts)
    for trial in missing:
        model, seed = models.of(trial), plan.config.seed
        wanted = None if trial.like is None else torch.tensor(l2_norms(trial.like, out)).float()
        changes = trial.changes(model, models.source_of(trial), seed=seed, wanted=wanted)
        keep_trial(out / trial.path, changes, model, seed=seed, about=plan.about[trial])
        _say_figures(Finding.read(trial, out))


def _say_figures(finding: Finding | None) -> None:
    assert finding is not None  # it has just been run
    own = finding.own
    say(
        f"    {finding.trial.title}: error {percent(1 - own.accuracy.value, 1)} %, "
        f"EER {percent(own.eer.value, 1)} % in {duration(finding.record.seconds)}"
    )
