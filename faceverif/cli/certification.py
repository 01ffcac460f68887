"""The command that states what no attack can change: certify."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from data_prep.device import choose_device
from data_prep.errors import InputError
from data_prep.progress import say
from faceverif.cli.checks import exists, made_by
from faceverif.cli.options import Device, FolderOfRun, OutDir
from faceverif.file_names import REPORT_NAME

# What is not given is None until it is known to belong to the norm.
_EPSILONS, _NOISE, _SAMPLES, _CONFIDENCE = (0.1, 0.3), 0.25, 1000, 0.999

NormOfChanges = Annotated[
    Literal["l2", "linf"],
    typer.Option(help="Of the changes: l2 by noise, or linf by bounds of every layer (classes only)."),
]


def _are_sizes(value: list[float] | None) -> list[float] | None:
    """How far every pixel may move."""
    for epsilon in value or ():
        if not 0 < epsilon <= 1:  # nor NaN
            rule = "must be above 0 and at most 1, for pixels in [0, 1]"
            fix = "Use --epsilon 0.1; steps of 8-bit pixels are divided by 255."
            raise InputError("--epsilon", rule, got=epsilon, fix=fix)
    return value


Epsilons = Annotated[
    list[float] | None,
    typer.Option(
        callback=_are_sizes,
        help=f"linf: sizes, for pixels in [0, 1]; default: {_EPSILONS[0]} and {_EPSILONS[1]}.",
    ),
]
Noise = Annotated[
    float | None,
    typer.Option(
        help="l2: standard deviation of the noise, for pixels in [0, 1]; best the training's; "
        f"default: {_NOISE}."
    ),
]
Samples = Annotated[int | None, typer.Option(help=f"l2: noisy versions of each photo; default: {_SAMPLES}.")]
Confidence = Annotated[
    float | None, typer.Option(help=f"l2: with which each certificate holds; default: {_CONFIDENCE}.")
]
Count = Annotated[int, typer.Option(min=1, help="Images or pairs to certify at most, drawn at random.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the choice and of the noise.")]
PairPhotos = Annotated[
    Path | None, typer.Option("--data", callback=made_by("faceverif align"), help="Pairs: aligned photos.")
]
PairList = Annotated[
    Path | None, typer.Option("--protocol", callback=exists, help="Pairs: the list of pairs.")
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold", help="Pairs: accepted from this cosine on, -1 to 1; `faceverif calibrate` prints some."
    ),
]


def certify(
    model: FolderOfRun,
    out: OutDir,
    norm: NormOfChanges = "l2",
    epsilon: Epsilons = None,
    noise: Noise = None,
    samples: Samples = None,
    confidence: Confidence = None,
    count: Count = 200,
    seed: Seed = 0,
    data: PairPhotos = None,
    protocol: PairList = None,
    threshold: Threshold = None,
    device: Device = "auto",
) -> None:
    """State the l2 radius within which no attack changes a decision, on classes or (--protocol) on pairs.

    With --norm linf: the error that no change of all pixels by epsilon can exceed.
    """
    from robustness.config.smoothing import Smoothing

    by_noise = {"--noise": noise, "--samples": samples, "--confidence": confidence}
    _refuse_of_other_norm(norm, {"linf": {"--epsilon": epsilon or None}, "l2": by_noise})
    smoothing = Smoothing(
        sd=_NOISE if noise is None else noise,
        samples=_SAMPLES if samples is None else samples,
        confidence=_CONFIDENCE if confidence is None else confidence,
        seed=seed,
    )
    if threshold is not None and not -1 <= threshold <= 1:  # nor NaN
        raise InputError(
            "--threshold", "must be a cosine, from -1 to 1", got=threshold, fix="Use one such as 0.3."
        )
    _refuse_half_named_pairs(norm, {"--data": data, "--protocol": protocol, "--threshold": threshold})
    say(f"certifying {model[0]}{f' by {protocol}' if protocol else ''}: {out}")
    choose_device(device)

    from robustness.certificates.run import certify_images, certify_pairs
    from robustness.certificates.verified import verify_images

    if norm == "linf":
        text = verify_images(model[0], out, epsilons=epsilon or _EPSILONS, images=count, seed=seed)
    elif data is None or protocol is None or threshold is None:
        text = certify_images(model[0], out, smoothing=smoothing, images=count)
    else:
        text = certify_pairs(
            model[0], out, data=data, protocol=protocol, threshold=threshold, smoothing=smoothing, pairs=count
        )
    typer.echo(f"{text}\nreport: {out / REPORT_NAME}")


def _refuse_of_other_norm(norm: str, options: Mapping[str, Mapping[str, object]]) -> None:
    """Stop on an option that the norm has no use for: norm -> the options that belong to it."""
    for other, its in options.items():
        for option, value in its.items():
            if other != norm and value is not None:
                rule, fix = f"belongs to --norm {other}", f"Add --norm {other}, or leave it out."
                raise InputError(option, rule, got=f"--norm {norm}", fix=fix)


def _refuse_half_named_pairs(norm: str, pairs: dict[str, Path | float | None]) -> None:
    missing = [name for name, value in pairs.items() if value is None]
    if norm == "linf" and len(missing) < len(pairs):
        raise InputError(
            "--norm",
            "must be l2 for pairs",
            got="linf",
            fix="Leave out --norm, or --data, --protocol and --threshold.",
        )
    if 0 < len(missing) < len(pairs):
        raise InputError(
            missing[0],
            "must be given: --data, --protocol and --threshold name the pairs together",
            got="nothing",
            fix="Give all three, or none to certify the classes of a run.",
        )
