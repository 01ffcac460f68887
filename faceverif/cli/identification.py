"""Commands that search a gallery: rank, identify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_prep.counted import counted
from data_prep.device import choose_device
from data_prep.errors import InputError
from data_prep.progress import say
from faceverif.cli.checks import exists, is_rate, made_by
from faceverif.cli.options import (
    AllowPartial,
    DataDir,
    Device,
    Flip,
    OnnxOutput,
    OptionalModel,
    OutDir,
    PoolingName,
    Preprocess,
    Thresholds,
    chosen_model,
)
from faceverif.file_names import REPORT_NAME
from faceverif.template_matching.options import DEFAULT_POOLING

if TYPE_CHECKING:
    from data_prep.protocols.identification import IdentificationProtocol

GalleryList = Annotated[
    Path | None,
    typer.Option(
        "--gallery",
        callback=exists,
        help="A CSV with the columns photo,identity: who is enrolled. A photo without an identity is of "
        "somebody unknown.",
    ),
]
ProbeList = Annotated[
    Path | None,
    typer.Option(
        "--probes",
        callback=exists,
        help="A CSV with the columns photo,identity: who is searched. Where the identity is empty or not in "
        "the gallery, the probe shows a stranger.",
    ),
]
Lists = Annotated[
    Path | None,
    typer.Option(
        "--protocol",
        callback=exists,
        help="Instead of the two: a folder with gallery.csv and probes.csv, TinyFace's Testing_Set, or "
        "IJB-B's or IJB-C's folder meta.",
    ),
]


def rank(
    data: DataDir,
    out: OutDir,
    model: OptionalModel = None,
    gallery: GalleryList = None,
    probes: ProbeList = None,
    protocol: Lists = None,
    pooling: PoolingName = None,
    allow_partial: AllowPartial = False,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
    flip: Flip = True,
    device: Device = "auto",
) -> None:
    """Search many photos in a gallery: rank-1, 5 and 10, TPIR at FPIR, and a report.

    To find the person on a photo of your own, use `faceverif identify`.
    """
    from data_prep.ijb import find_ijb_files
    from faceverif.models import load_embedder, refuse_options_of_onnx
    from faceverif.template_matching.task import SearchTask, refuse_options_of_templates

    chosen = chosen_model(model)
    refuse_options_of_onnx(chosen, preprocess=preprocess, output=output)
    if protocol is not None and gallery is probes is None and (files := find_ijb_files(protocol)) is not None:
        weights = pooling or DEFAULT_POOLING
        task = SearchTask.of(files, data, weights, flip=flip, allow_partial=allow_partial)
        say(f"searching {task.protocol.reading}: {out}")
        embedder = load_embedder(chosen, preprocess=preprocess, output=output, device=device)

        from faceverif.template_matching.search_run import rank_templates

        typer.echo(rank_templates(embedder, task, out=out).text())
        typer.echo(f"report: {out / REPORT_NAME}")
        return
    refuse_options_of_templates(pooling, allow_partial=allow_partial)
    lists = _lists(gallery, probes, protocol)
    probed, enrolled = counted(len(lists.probes), "probe"), counted(len(lists.gallery), "gallery photo")
    say(f"searching {probed} in {enrolled}: {out}")
    embedder = load_embedder(chosen, preprocess=preprocess, output=output, device=device)

    from faceverif.identification.runner import rank as search_all

    typer.echo(search_all(embedder, data, lists, out=out, flip=flip).text())
    typer.echo(f"report: {out / REPORT_NAME}")


def identify(
    photos: Annotated[list[Path], typer.Argument(callback=exists, help="Photos of people to look up.")],
    gallery: Annotated[
        Path,
        typer.Option(
            "--gallery",
            callback=exists,
            help="Who can be named: a folder with a folder or a photo per person, or an aligned set.",
        ),
    ],
    model: OptionalModel = None,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
    fpir: Annotated[
        float,
        typer.Option(
            callback=is_rate, help="Share of strangers who may be taken for somebody of the gallery."
        ),
    ] = 0.01,
    strangers: Annotated[
        Path | None,
        typer.Option(
            "--strangers",
            callback=made_by("faceverif align"),
            help="Aligned photos of people who are not in the gallery, to measure the rate on. Default: "
            "it is bounded by the model's calibration.",
        ),
    ] = None,
    thresholds: Thresholds = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    device: Device = "auto",
) -> None:
    """Say who of a gallery is on a photo, or that it is nobody of them.

    The exit code is 0 whatever the answer is. With several photos it is 1 if one could not be searched.
    """
    from faceverif.cli.naming import print_answers, refuse_unclear_answer
    from faceverif.verification.calibration import refuse_uncalibrated
    from faceverif.verification.photo_pixels import refuse_no_photos

    refuse_unclear_answer(as_json=as_json, as_csv=as_csv, strangers=strangers, thresholds=thresholds)
    if len(photos) == 1:  # of several, one that cannot be searched stops no other
        refuse_no_photos(*photos)
    chosen = chosen_model(model)
    if strangers is None:
        refuse_uncalibrated(chosen, file=thresholds, preprocess=preprocess, output=output)
    choose_device(device)

    from faceverif.identification.identify import Identifier

    identifier = Identifier.load(
        chosen,
        gallery,
        fpir=fpir,
        strangers=strangers,
        preprocess=preprocess,
        output=output,
        thresholds=thresholds,
    )
    raise typer.Exit(print_answers(identifier, photos, as_json=as_json, as_csv=as_csv))


def _lists(gallery: Path | None, probes: Path | None, protocol: Path | None) -> IdentificationProtocol:
    """The lists that the options name.

    Raises:
        InputError: not one form of them, or they are broken.
    """
    from data_prep.protocols.identification import load_identification, load_lists

    if gallery is not None and probes is not None and protocol is None:
        return load_lists(gallery, probes)
    if protocol is not None and gallery is None and probes is None:
        return load_identification(protocol)
    options = (("--gallery", gallery), ("--probes", probes), ("--protocol", protocol))
    raise InputError(
        "rank",
        "needs --gallery FILE and --probes FILE, or --protocol FOLDER",
        got=" and ".join(name for name, value in options if value is not None) or "none of them",
        fix="Give the two files, or the folder alone.",
    )
