"""Commands that attack and reject: reject, calibrate-rejection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faceverif.cli.app import app
from faceverif.cli.options import (
    OutDir,
    Overrides,
    RunDir,
)


@app.command()
def reject(
    config: Annotated[Path, typer.Argument(help="Models, attacks and detectors: configs/rejection/*.yaml.")],
    out: OutDir,
    override: Overrides = None,
) -> None:
    """Attack models, tell attacked inputs from clean ones, and report how far that goes."""
    from faceverif.config.reading import load_config
    from faceverif.experiment.images import ImageTask
    from robustness.rejection.config import RejectionConfig
    from robustness.rejection.run import run_rejection

    settings = load_config(RejectionConfig, config, override or [])
    typer.echo(f"report: {run_rejection(settings, out, train=ImageTask().finish)}")


@app.command("calibrate-rejection")
def calibrate_rejection(
    run: RunDir,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Aligned photos of people whom the model does not know; else the run's held-out photos.",
        ),
    ] = None,
) -> None:
    """Score clean photos for `faceverif compare --reject`, and store the scores in the run."""
    from robustness.guard import calibrate_guard

    typer.echo(calibrate_guard(run, data=data).text())
