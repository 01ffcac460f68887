"""Commands that attack and reject: reject, calibrate-rejection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_prep.device import choose_device
from faceverif.cli.checks import load_checked, made_by
from faceverif.cli.options import (
    Device,
    Model,
    OutDir,
    Overrides,
)


def reject(
    config: Annotated[Path, typer.Argument(help="Models, attacks and detectors: configs/rejection/*.yaml.")],
    out: OutDir,
    override: Overrides = None,
    device: Device = "auto",
) -> None:
    """Attack models, detect the attacked inputs, and report how well that works."""
    from faceverif.config.paths import refuse_missing_paths
    from robustness.rejection.config import RejectionConfig
    from robustness.rejection.trainings import own_trainings

    settings = load_checked(RejectionConfig, config, override)
    for model in settings.models:
        for training in own_trainings(settings, model):
            refuse_missing_paths(training)

    choose_device(device)

    from faceverif.experiment.images import ImageTask
    from robustness.rejection.run import run_rejection

    typer.echo(f"report: {run_rejection(settings, out, train=ImageTask().finish)}")


def calibrate_rejection(
    model: Model,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            callback=made_by("faceverif align"),
            help="Aligned photos of people whom the model does not know; default: the run's held-out photos.",
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Score clean photos and store the scores with the model, for `faceverif compare --reject`."""
    choose_device(device)

    from robustness.guard import calibrate_guard

    typer.echo(calibrate_guard(model[0], data=data).text())
