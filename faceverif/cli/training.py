"""Commands that train, and the report of a training run: train, classify, experiment, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_prep.device import choose_device
from data_prep.errors import InputError
from data_prep.printed_command import printed_command
from data_prep.progress import say
from faceverif.cli.checks import can_be_folder, load_checked, made_by
from faceverif.cli.configs import refuse_other_command
from faceverif.cli.options import ConfigFile, Device, DryRun, NewRun, OutDir, Overrides, Resume
from faceverif.extras import require_extra
from faceverif.file_names import REPORT_NAME
from faceverif.torchrun import is_first_process

if TYPE_CHECKING:
    from faceverif.training.rehearsal import Rehearsal


def train(
    config: ConfigFile,
    run: NewRun,
    override: Overrides = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    device: Device = "auto",
) -> None:
    """Train a face embedding model."""
    from faceverif.config.run import RunConfig

    settings = load_checked(RunConfig, config, override)
    if settings.logger is not None:
        require_extra(settings.logger, settings.logger, field="logger")
    if is_first_process():
        say(f"training {settings.backbone.name} with {settings.head.name} on {settings.data.path}: {run}")

    choose_device(device)

    from faceverif.training.dry_run import rehearse
    from faceverif.training.loop import train as run_training

    if dry_run:
        _show(rehearse(settings, run, resume=resume))
    else:
        run_training(settings, run, resume=resume)


def classify(
    config: ConfigFile,
    run: NewRun,
    override: Overrides = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    device: Device = "auto",
) -> None:
    """Train an image classifier with any of the losses, as the papers do on MNIST and CIFAR."""
    from faceverif.classification.config import ClassificationConfig

    settings = load_checked(ClassificationConfig, config, override)
    if is_first_process():
        say(f"training {settings.network.name} with {settings.head.name} on {settings.data.name}: {run}")

    choose_device(device)

    from faceverif.classification.dry_run import rehearse
    from faceverif.classification.report import write_classifier_report
    from faceverif.classification.training import train_classifier

    if dry_run:
        _show(rehearse(settings, run, resume=resume))
        return
    train_classifier(settings, run, resume=resume)
    if is_first_process():
        say(f"report: {write_classifier_report(run)}")


def experiment(
    config: Annotated[
        Path,
        typer.Argument(help="A table of methods and seeds; configs/mnist and configs/cifar10 have some."),
    ],
    out: OutDir,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Run only this method or case; may be repeated.")
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Replace a key of the config: --set common.training.epochs=5 for all runs, "
            "--set methods.0.seeds=[0] for one method. May be repeated.",
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Run the table of a paper, methods x seeds, and show our numbers beside the paper's."""
    from faceverif.config.paths import refuse_missing_paths
    from faceverif.experiment.config import ExperimentConfig, load_experiment
    from faceverif.experiment.plan import advice_in_a_table, plan_runs

    refuse_other_command(config, ExperimentConfig)
    table_of = load_experiment(config, override or [])
    for planned in plan_runs(table_of, source=str(config), only=only or []):
        try:
            refuse_missing_paths(planned.config)
        except InputError as error:
            fix = advice_in_a_table(error.fix)
            raise InputError(error.field, error.rule, got=error.got, fix=fix) from error
    if is_first_process():
        say(f"training for the table {table_of.name}: {out}")

    choose_device(device)

    from faceverif.experiment.run import run_experiment

    table = run_experiment(config, out, only=only or [], overrides=override or [])
    if is_first_process():
        typer.echo(table.markdown())
        typer.echo(f"report: {out / REPORT_NAME}")


def _show(rehearsal: Rehearsal) -> None:
    if is_first_process():
        typer.echo(rehearsal.text())


def report(
    run: Annotated[
        Path,
        typer.Argument(
            callback=made_by("faceverif train` or `faceverif classify"), help="Folder of a training run."
        ),
    ],
    other: Annotated[
        Path | None,
        typer.Argument(callback=made_by("faceverif train"), help="Another one, to compare it with."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", callback=can_be_folder, help="Folder for report-compare.html, for two runs."),
    ] = None,
) -> None:
    """Write report.html of a run again from its files; with OTHER, compare the two runs."""
    from faceverif.classification.report import is_classifier_run, write_classifier_report
    from faceverif.report.run_page import write_run_report
    from faceverif.report.two_runs import compare_runs, write_page_of_two

    if (other is None) != (out is None):
        raise InputError(
            "--out",
            "belongs to two runs, and they need it",
            got="RUN OTHER without it" if out is None else "it with one run",
            fix="Run: " + printed_command("report", run, other or "OTHER", "--out", out or "runs/comparison"),
        )
    if other is None or out is None:
        write = write_classifier_report if is_classifier_run(run) else write_run_report
        typer.echo(f"report: {write(run)}")
        return
    two = compare_runs(run, other)
    typer.echo(two.text())
    typer.echo(f"report: {write_page_of_two(two, out)}")
