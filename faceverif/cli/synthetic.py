"""Commands that need no photos: demo, synthesise, fit-faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faceverif.cli.checks import can_be_file, can_be_folder, can_hold_photos, made_by
from faceverif.cli.options import DataDir


def demo(
    out: Annotated[
        Path, typer.Option("--out", callback=can_be_folder, help="Folder for photos, run and report.")
    ] = Path("runs/demo"),
) -> None:
    """Run the whole chain on synthetic people: draw, align, train, verify, reject, report. No download."""

    from faceverif.demo import run_demo
    from faceverif.experiment.images import ImageTask
    from robustness.photo_attack import impersonate
    from robustness.rejection.demo_experiment import demo_rejection
    from robustness.rejection.run import run_rejection

    def reject_in(run: Path, folder: Path) -> None:
        run_rejection(demo_rejection(run), folder, train=ImageTask().finish)

    typer.echo(f"report: {run_demo(out, reject=reject_in, impersonate=impersonate)}")


def synthesise(
    out: Annotated[
        Path,
        typer.Argument(
            callback=can_hold_photos, help="Folder for the photos; each identity gets a folder in it."
        ),
    ],
    identities: Annotated[int, typer.Option(min=1, help="How many people.")] = 60,
    photos: Annotated[int, typer.Option(min=1, help="Photos of each person.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same photos.")] = 0,
    model: Annotated[
        Path | None,
        typer.Option(
            callback=made_by("faceverif fit-faces"),
            help="A face model made by `faceverif fit-faces`; default: the one in this package.",
        ),
    ] = None,
) -> None:
    """Draw photos of people who do not exist."""
    from data_prep.face_model import load_face_model
    from data_prep.synthetic import synthesise_photos

    synthesise_photos(load_face_model(model), out, identities=identities, photos=photos, seed=seed)
    typer.echo(f"photos: {out}")


def fit_faces(
    data: DataDir,
    out: Annotated[
        Path,
        typer.Option("--out", callback=can_be_file(".npz"), help="The .npz file to write, at most 3 MB."),
    ],
    components: Annotated[int, typer.Option(min=1, help="Principal components to keep.")] = 200,
) -> None:
    """Fit the statistical face model behind the synthetic people to an aligned set."""
    from data_prep.dataset.packed import load_aligned
    from data_prep.face_model import fit_face_model

    fit_face_model(load_aligned(data), components=components).save(out)
    typer.echo(f"face model: {out}")
