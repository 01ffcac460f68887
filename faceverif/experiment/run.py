"""`faceverif experiment`: trains the runs of a table and updates it; an interrupted one continues."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.atomic import refuse_file, write_text
from data_prep.counted import counted
from data_prep.errors import InputError
from data_prep.progress import say
from faceverif.config.reading import read_yaml
from faceverif.experiment.config import TABLE_NAME, ExperimentConfig, load_experiment
from faceverif.experiment.plan import PlannedRun, advice_in_a_table, plan_runs
from faceverif.experiment.report import write_experiment_report
from faceverif.experiment.table import Table, build_table
from faceverif.experiment.task import FinishedRun, Task
from faceverif.experiment.tasks import TASKS
from faceverif.file_names import CONFIG_NAME
from faceverif.torchrun import is_first_process


def run_experiment(
    path: Path, out: Path, *, only: Sequence[str] = (), overrides: Sequence[str] = ()
) -> Table:
    """Train all runs of a table that have not finished, and write the table after each.

    A run lies in OUT/METHOD/seedK, or OUT/METHOD/CASE/seedK. A finished run is left alone, an interrupted one
    continues. OUT/table.json, table.md and report.html show what has finished so far. All
    processes of a torchrun train each run together, and the first one writes the table.

    Args:
        path: the experiment's YAML.
        out: the folder for everything.
        only: names of methods and cases to run; the table shows all that has finished all the same.
        overrides: `a.b=c`, laid over the YAML: common.training.epochs=3.

    Returns:
        the table with all runs asked for.

    Raises:
        InputError: the YAML or a run's settings break a rule, a run in OUT was made with other settings, or a
            training stops. Settings are all checked before the first training.
    """
    experiment = load_experiment(path, overrides)
    task = TASKS[experiment.task]
    refuse_file(out)
    every_run = plan_runs(experiment, source=str(path))
    asked_for = plan_runs(experiment, source=str(path), only=only)
    for run in every_run:
        task.refuse_other_settings(run.config, out / run.name)
        _refuse_other_start(run, out)
    missing = [run for run in asked_for if task.result(out / run.name) is None]
    _refuse_missing_starts(task, missing, out)
    finished = len(asked_for) - len(missing)
    _say(f"{experiment.name}: {counted(len(asked_for), 'run')}, {finished} finished before")
    table = write_table(experiment, every_run, out)
    for number, run in enumerate(missing, start=1):
        _say(f"{experiment.name}: {run.name}, {number} of {len(missing)}")
        _train_run(task, run, out)
        table = write_table(experiment, every_run, out)
    return table


def write_table(experiment: ExperimentConfig, runs: Sequence[PlannedRun], out: Path) -> Table:
    """Write table.json, table.md and report.html of what has finished; none before anything has.

    Args:
        experiment: the table.
        runs: all its runs, finished or not.
        out: the experiment's folder.

    Raises:
        InputError: runs that would be compared saw different data.
    """
    finished = _finished(TASKS[experiment.task], runs, out)
    _refuse_mixed_data(finished)
    planned = Counter((run.method, run.case) for run in _in_order_of_the_table(experiment, runs))
    table = build_table(experiment, finished, planned=planned)
    if finished and is_first_process():
        write_text(out / f"{TABLE_NAME}.json", json.dumps(table.record(), indent=1))
        write_text(out / f"{TABLE_NAME}.md", table.markdown())
        write_experiment_report(table, finished, out)
    return table


def _say(text: str) -> None:
    if is_first_process():
        say(text)


def _train_run(task: Task[Any], run: PlannedRun, out: Path) -> None:
    folder, config = out / run.name, run.config
    if run.start is not None:
        training = config.training.model_copy(update={"start_from": out / run.start})
        config = config.model_copy(update={"training": training})
    try:
        task.finish(config, folder)
    except InputError as error:
        fix = advice_in_a_table(error.fix)
        raise InputError(f"{run.name}: {error.field}", error.rule, got=error.got, fix=fix) from error


def _refuse_missing_starts(task: Task[Any], missing: Sequence[PlannedRun], out: Path) -> None:
    """Before anything is trained: what a run starts from has finished, or is trained before it.

    Raises:
        InputError: it is neither.
    """
    planned = {run.name for run in missing}
    for run in missing:
        if run.start is None or run.start in planned:
            continue
        if task.result(out / run.start) is None:
            fix = f"Run it too: --only {run.start_from}"
            raise InputError(run.name, f"starts from {run.start}", got="a run that has not finished", fix=fix)


def _refuse_other_start(run: PlannedRun, out: Path) -> None:
    """Stop where a run lies that began elsewhere than the table now says.

    Raises:
        InputError: it did; both starts are named.
    """
    path = out / run.name / CONFIG_NAME
    if not path.is_file():
        return
    stored = read_yaml(path)["training"].get("start_from")
    if run.start is None:
        same = (stored is None) == (run.config.training.start_from is None)
    else:  # the table's folder may have moved
        same = Path(stored or ".").parts[-len(Path(run.start).parts) :] == Path(run.start).parts
    if not same:
        now = run.start or run.config.training.start_from
        fix = f"Set it back, or remove {out / run.name}."
        raise InputError(run.name, "must start from where it did", got=f"{stored} -> {now}", fix=fix)


def _finished(task: Task[Any], runs: Sequence[PlannedRun], out: Path) -> list[FinishedRun]:
    results = ((run, task.result(out / run.name)) for run in runs)
    return [
        FinishedRun(run.method, run.case, run.config, out / run.name, result)
        for run, result in results
        if result is not None
    ]


def _refuse_mixed_data(finished: Sequence[FinishedRun]) -> None:
    """Runs that ask for the same data must have seen the same: files may have changed since the first.

    Raises:
        InputError: they have not; two such runs are named.
    """
    first: dict[tuple[object, ...], FinishedRun] = {}
    for run in finished:
        asked_for = run.config.data.model_dump_json(exclude={"download"})
        earlier = first.setdefault((run.case, run.config.seed, asked_for), run)
        if run.result.data != earlier.result.data:
            raise InputError(
                "--out",
                "runs that are compared must have seen the same data",
                got=f"{earlier.folder} and {run.folder} with different hashes",
                fix="Put the data back and remove the run that saw others, or name another --out.",
            )


def _in_order_of_the_table(experiment: ExperimentConfig, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    methods = [method.name for method in experiment.methods]
    cases = [None, *(case.name for case in experiment.cases)]
    return sorted(runs, key=lambda run: (cases.index(run.case), methods.index(run.method)))
