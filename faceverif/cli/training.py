"""Commands that train: train, classify, experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faceverif.cli.app import app
from faceverif.cli.options import (
    OutDir,
    Overrides,
    Resume,
    RunDir,
)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A YAML file; configs/ has examples.")],
    run: RunDir,
    override: Overrides = None,
    resume: Resume = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check everything, measure a few steps, say what the run takes; write nothing."
        ),
    ] = False,
) -> None:
    """Train a face embedding model."""
    from faceverif.config.run import load_run_config
    from faceverif.training.dry_run import rehearse
    from faceverif.training.loop import train as run_training

    settings = load_run_config(config, override or [])
    if dry_run:
        typer.echo(rehearse(settings, run, resume=resume).text())
    else:
        run_training(settings, run, resume=resume)


@app.command()
def classify(
    config: Annotated[Path, typer.Argument(help="A YAML file; configs/mnist and configs/cifar10 hold some.")],
    run: RunDir,
    override: Overrides = None,
    resume: Resume = False,
) -> None:
    """Train an image classifier with any of the losses: the papers' MNIST and CIFAR side."""
    from faceverif.classification.config import ClassificationConfig
    from faceverif.classification.training import train_classifier
    from faceverif.config.reading import load_config

    train_classifier(load_config(ClassificationConfig, config, override or []), run, resume=resume)


@app.command()
def experiment(
    config: Annotated[Path, typer.Argument(help="A table of methods and seeds, as configs/mnist/*.yaml.")],
    out: OutDir,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A method or case; may be repeated.")
    ] = None,
    override: Overrides = None,
) -> None:
    """Run a paper's table, methods x seeds, beside its numbers; started again, it goes on."""
    from faceverif.experiment.run import run_experiment

    table = run_experiment(config, out, only=only or [], overrides=override or [])
    typer.echo(table.markdown())
    typer.echo(f"report: {out / 'report.html'}")
