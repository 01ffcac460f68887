"""Commands that attack and reject: attack, reject, calibrate-rejection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from data_prep.counted import counted
from data_prep.device import choose_device
from data_prep.errors import InputError
from data_prep.printed_command import printed_command
from data_prep.progress import say
from faceverif.cli.checks import can_be_file, exists, load_checked, made_by, some_models
from faceverif.cli.options import (
    DecidingFar,
    Device,
    FolderOfModel,
    OnnxOutput,
    OptionalModel,
    OutDir,
    Preprocess,
    Thresholds,
    chosen_model,
)

if TYPE_CHECKING:
    from faceverif.recogniser import Recogniser

_ABOUT_ONNX = ("preprocess", "output")  # arguments that say what an .onnx file takes and gives


def reject(
    config: Annotated[Path, typer.Argument(help="Models, attacks and detectors: configs/rejection/*.yaml.")],
    out: OutDir,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help="Replace a key of the config: --set evaluation=50. May be repeated."),
    ] = None,
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
    say(f"{settings.name}: attacking {counted(len(settings.models), 'model')}: {out}")

    choose_device(device)

    from faceverif.experiment.images import ImageTask
    from robustness.rejection.run import run_rejection

    typer.echo(f"report: {run_rejection(settings, out, train=ImageTask().finish)}")


TrainedOn = Annotated[
    Path | None,
    typer.Option(
        "--trained-on",
        callback=made_by("faceverif align"),
        help="The aligned photos that the run was trained on, if they have moved since.",
    ),
]
CleanPhotos = Annotated[
    Path | None,
    typer.Option(
        "--data",
        callback=made_by("faceverif align"),
        help="Aligned photos of people whom the model does not know; default: the run's held-out photos.",
    ),
]


def calibrate_rejection(
    model: FolderOfModel, data: CleanPhotos = None, trained_on: TrainedOn = None, device: Device = "auto"
) -> None:
    """Score clean photos and store the scores with the model, for `faceverif compare --reject`."""
    say(f"scoring {data or 'held-out photos'} for a guard of {model[0]}")
    choose_device(device)

    from robustness.guard import calibrate_guard

    typer.echo(calibrate_guard(model[0], data=data, trained_on=trained_on).text())


Photo = Annotated[Path, typer.Argument(callback=exists, help="The photo that is changed.")]
Reference = Annotated[
    Path | None,
    typer.Argument(callback=exists, help="The photo that it is compared with; dodging can do without."),
]
AttackedPhoto = Annotated[
    Path, typer.Option("--out", callback=can_be_file(".png"), help="The attacked photo, a PNG.")
]
AttackName = Literal["fgsm", "pgd", "apgd", "mi_fgsm", "square", "evolutionary", "patch"]
Name = Annotated[AttackName, typer.Option("--attack", help="How the photo is attacked.")]
Goal = Annotated[
    Literal["impersonation", "dodging"],
    typer.Option(help="impersonation: pass for the other person. dodging: be taken for another one."),
]
Epsilon = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Largest change of a pixel, for pixels in [0, 1]; of evolutionary the l2 norm. "
        "Default: 8/255, of patch 1, of evolutionary 4.",
    ),
]
Sources = Annotated[
    list[Path] | None,
    typer.Option(
        "--source",
        callback=some_models,
        metavar="<path>",
        help="A model that is attacked in place of --model; may be repeated. --model then judges. An .onnx "
        "file that was not written by `faceverif export` must be imported first.",
    ),
]
AttackSettings = Annotated[
    list[str] | None, typer.Option("--set", help="A setting of the attack: --set steps=100. May be repeated.")
]
AttackSeed = Annotated[int, typer.Option(min=0, help="Of what is random in the attack.")]


def attack(
    photo: Photo,
    out: AttackedPhoto,
    reference: Reference = None,
    model: OptionalModel = None,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
    name: Name = "pgd",
    goal: Goal = "impersonation",
    epsilon: Epsilon = None,
    source: Sources = None,
    far: DecidingFar = 0.01,
    thresholds: Thresholds = None,
    settings: AttackSettings = None,
    seed: AttackSeed = 0,
    device: Device = "auto",
) -> None:
    """Attack a photo through its alignment, save it, and test whether the saved photo still deceives."""
    from faceverif.config.reading import override_settings
    from faceverif.verification.calibration import refuse_uncalibrated
    from faceverif.verification.photo_pixels import refuse_no_photos
    from robustness.config.chosen import AttackRequest

    given: dict[str, Any] = {}
    for setting in settings or []:
        given = override_settings(given, setting)
    # The threshold is known once the model is loaded.
    AttackRequest(
        name, goal, epsilon=epsilon, settings=given, threshold=0.0, reference=reference, source=source or None
    ).section()
    refuse_no_photos(photo, reference)
    path = chosen_model(model)
    refuse_uncalibrated(path, far, file=thresholds, preprocess=preprocess, output=output)
    choose_device(device)

    from faceverif.recogniser import Recogniser
    from faceverif.verification.compare import Comparer
    from robustness.whole_photo import attack_photo

    comparer = Comparer.load(path, far=far, preprocess=preprocess, output=output, thresholds=thresholds)
    found = attack_photo(
        photo,
        reference,
        out=out,
        model=Recogniser(comparer.embedder, flip=comparer.calibration.flip),
        name=name,
        goal=goal,
        epsilon=epsilon,
        source=[_source(each) for each in source] if source else None,
        threshold=comparer.point.threshold,
        seed=seed,
        **given,
    )
    typer.echo(found.text(comparer.point.threshold))


def _source(path: Path) -> Recogniser:
    """A model to attack; of an .onnx file there is no option that says what it takes."""
    from faceverif.models.location import is_onnx
    from faceverif.recogniser import load

    try:
        return load(path)
    except InputError as error:
        if not is_onnx(path) or error.field not in _ABOUT_ONNX:
            raise
        raise InputError(
            "--source",
            "must be a model that says itself what it takes",
            got=path,
            fix="Import it: "
            + printed_command("import", path, "--preprocess", "NAME", "--out", f"models/{path.stem}")
            + "; then name that folder.",
        ) from error
