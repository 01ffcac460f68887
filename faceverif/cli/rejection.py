"""Commands that attack, reject and certify: attack, reject, calibrate-rejection, certify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from data_prep.device import choose_device
from data_prep.errors import InputError
from faceverif.cli.checks import can_be_file, exists, load_checked, made_by
from faceverif.cli.options import (
    Device,
    Model,
    OptionalModel,
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


def certify(
    model: Model,
    out: OutDir,
    norm: Annotated[
        Literal["l2", "linf"],
        typer.Option(help="Of the changes: l2 by noise, or linf by bounds of every layer (classes only)."),
    ] = "l2",
    epsilon: Annotated[
        list[float] | None, typer.Option(help="linf: sizes, for pixels in [0, 1]; default: 0.1 and 0.3.")
    ] = None,
    noise: Annotated[
        float,
        typer.Option(help="l2: standard deviation of the noise, for pixels in [0, 1]; best the training's."),
    ] = 0.25,
    samples: Annotated[int, typer.Option(help="l2: noisy versions of each photo.")] = 1000,
    confidence: Annotated[float, typer.Option(help="l2: with which each certificate holds.")] = 0.999,
    count: Annotated[int, typer.Option(min=1, help="Images or pairs to certify, drawn at random.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice and of the noise.")] = 0,
    data: Annotated[
        Path | None,
        typer.Option("--data", callback=made_by("faceverif align"), help="Pairs: aligned photos."),
    ] = None,
    protocol: Annotated[
        Path | None, typer.Option("--protocol", callback=exists, help="Pairs: the list of pairs.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=-1, max=1, help="Pairs: accepted from this cosine on."),
    ] = None,
    device: Device = "auto",
) -> None:
    """State the l2 radius within which no attack changes a decision, on classes or (--protocol) on pairs.

    With --norm linf: the error that no change of all pixels by epsilon can exceed.
    """
    from robustness.config.linf import Box
    from robustness.config.smoothing import Smoothing

    box = Box(tuple(epsilon or (0.1, 0.3)))
    if epsilon and norm == "l2":
        raise InputError(
            "--epsilon", "belongs to --norm linf", got="--norm l2", fix="Add --norm linf, or leave it out."
        )

    smoothing = Smoothing(noise, samples, confidence, seed)
    given = {"--data": data, "--protocol": protocol, "--threshold": threshold}
    missing = [name for name, value in given.items() if value is None]
    if norm == "linf" and len(missing) < len(given):
        raise InputError(
            "--norm",
            "must be l2 for pairs",
            got="linf",
            fix="Leave out --norm, or --data, --protocol and --threshold.",
        )
    if 0 < len(missing) < len(given):
        raise InputError(
            missing[0],
            "must be given: --data, --protocol and --threshold name the pairs together",
            got="nothing",
            fix="Give all three, or none to certify the classes of a run.",
        )
    choose_device(device)

    if norm == "linf":
        from robustness.certificates.verified import verify_images

        typer.echo(verify_images(model[0], out, epsilons=box.epsilons, images=count, seed=seed))
        typer.echo(f"report: {out / 'report.html'}")
        return

    from robustness.certificates.run import certify_images, certify_pairs

    if data is None or protocol is None or threshold is None:
        text = certify_images(model[0], out, smoothing=smoothing, images=count)
    else:
        text = certify_pairs(
            model[0],
            out,
            data=data,
            protocol=protocol,
            threshold=threshold,
            smoothing=smoothing,
            pairs=count,
        )
    typer.echo(f"{text}\nreport: {out / 'report.html'}")


def attack(
    photo: Annotated[Path, typer.Argument(callback=exists, help="The photo that is changed.")],
    out: Annotated[
        Path, typer.Option("--out", callback=can_be_file(".png"), help="The attacked photo, a PNG.")
    ],
    reference: Annotated[
        Path | None,
        typer.Argument(callback=exists, help="The photo that it is compared with; dodging can do without."),
    ] = None,
    model: OptionalModel = None,
    name: Annotated[
        str, typer.Option("--attack", help="fgsm, pgd, mi_fgsm, square, evolutionary or patch.")
    ] = "pgd",
    goal: Annotated[
        str, typer.Option(help="impersonation: pass for the other person. dodging: be taken for another one.")
    ] = "impersonation",
    epsilon: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Largest change of a pixel, for pixels in [0, 1]; of evolutionary the l2 norm. "
            "Default: 8/255, of patch 1, of evolutionary 4.",
        ),
    ] = None,
    source: Annotated[
        list[Path] | None,
        typer.Option(
            "--source",
            callback=exists,
            metavar="<path>",
            help="A model that is attacked in place of --model; may be repeated. --model then judges.",
        ),
    ] = None,
    far: Annotated[
        float, typer.Option(min=0, max=1, help="False accept rate whose calibrated threshold decides.")
    ] = 0.01,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the attack: --set steps=100. May be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is random in the attack.")] = 0,
    device: Device = "auto",
) -> None:
    """Attack a photo through its alignment, save it, and test whether the saved photo still deceives."""
    from faceverif.config.reading import override_settings
    from faceverif.models import model_or_shipped
    from robustness.config.chosen import chosen_section

    given: dict[str, Any] = {}
    for setting in settings or []:
        given = override_settings(given, setting)
    # The threshold is known once the model is loaded.
    chosen_section(name, goal, epsilon=epsilon, settings=given, threshold=0.0, reference=reference)
    path = model_or_shipped(model[0] if model else None)
    choose_device(device)

    from faceverif.recogniser import Recogniser, load
    from faceverif.verification.compare import Comparer
    from robustness.whole_photo import attack_photo

    comparer = Comparer.load(path, far=far)
    found = attack_photo(
        photo,
        reference,
        out=out,
        model=Recogniser(comparer.embedder, flip=comparer.calibration.flip),
        name=name,
        goal="dodging" if goal == "dodging" else "impersonation",
        epsilon=epsilon,
        source=[load(each) for each in source] if source else None,
        threshold=comparer.point.threshold,
        seed=seed,
        **given,
    )
    typer.echo(found.text(comparer.point.threshold))
