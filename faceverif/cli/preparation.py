"""Commands that make and inspect data: align, data check, data fetch, data audit, data export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from data_prep.atomic import refuse_file
from data_prep.counted import counted
from data_prep.device import choose_device
from data_prep.fetching.known_sets import KNOWN_SETS, find_known_set
from data_prep.printed_command import printed_command
from data_prep.progress import say
from faceverif.cli.checks import THIS_MACHINE, can_be_folder, can_hold_photos, exists, known_detector, made_by
from faceverif.cli.options import Device, Flip, Model, On, OnnxOutput, OutDir, Preprocess, Workers, engine_on
from faceverif.file_names import REPORT_NAME


def align(
    source: Annotated[
        Path,
        typer.Argument(
            callback=exists,
            help="A folder of photos per identity, CelebA, CFP, IJB-B or IJB-C, InsightFace's train.rec or a "
            ".bin file, WebDataset shards.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            callback=can_hold_photos, help="Folder for crops and manifest: new, or one to continue."
        ),
    ],
    template: Annotated[
        str, typer.Option(help="arcface-64, arcface-112, arcface-128, arcface-160 or facenet-160.")
    ] = "arcface-112",
    min_face: Annotated[int, typer.Option(min=12, help="Smallest face to look for, in pixels.")] = 30,
    detector: Annotated[
        str,
        typer.Option(
            callback=known_detector,
            help="What finds the faces: mtcnn, or your .onnx file of SCRFD with landmarks or of YuNet.",
        ),
    ] = "mtcnn",
    workers: Workers = 0,
    allow_huge: Annotated[bool, typer.Option(help="Take photos over 50 megapixels too.")] = False,
    on: On = THIS_MACHINE,
    device: Device = "auto",
) -> None:
    """Find faces, cut them in a template, and write crops with a manifest."""
    from data_prep.alignment import find_template
    from data_prep.check.names import doubtful_names
    from data_prep.prepare.task import AlignSettings
    from data_prep.sources import list_source
    from data_prep.sources.base import some
    from data_prep.work.here import Processes

    find_template(template)
    engine = engine_on(on, here=Processes(workers), device=device, workers=workers)
    listing = list_source(source)
    for (noun, trouble), names in doubtful_names(
        (photo.identity for photo in listing.photos), (photo.key for photo in listing.photos)
    ).items():
        say(f"warning: {counted(len(names), noun)} {trouble}: {some(names)}")
    say(f"aligning {counted(len(listing.photos), 'photo')} of {source} to {template}: {out}")
    if not engine.outlasts:
        choose_device(device)

    from data_prep.prepare.align_folder import align_folder

    settings = AlignSettings(template, min_face, allow_huge, detector)
    summary = align_folder(source, out, settings=settings, engine=engine, listing=listing)
    typer.echo(summary.text())


def data_check(
    source: Annotated[
        Path,
        typer.Argument(
            callback=exists, help="Photos in any form that `align` reads, an aligned set, or a list of pairs."
        ),
    ],
    every: Annotated[bool, typer.Option("--all", help="Decode every photo, not a sample.")] = False,
    on: On = THIS_MACHINE,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", callback=can_be_folder, help="Folder for report.html, which names all that is broken."
        ),
    ] = None,
) -> None:
    """Say what a data set is and whether it is whole; the exit code is 1 if it is not."""
    from data_prep.check import Look, check
    from data_prep.work.here import ThisProcess
    from faceverif.report.check_page import refuse_inside, write_check_page

    if out is not None:
        refuse_inside(out, source)
    look = Look(every, engine_on(on, here=ThisProcess(), device=None))
    report = check(source, look)
    typer.echo(report.text())
    if out is not None:
        typer.echo(f"report: {write_check_page(report, out)}")
    raise typer.Exit(0 if report.whole else 1)


def data_fetch(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(KNOWN_SETS)}.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for it; default: data/NAME.")] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Fetch it: you have read the terms and accept them.")
    ] = False,
) -> None:
    """Say where a data set can be fetched and on what terms; with --accept, fetch, verify and unpack it."""
    from data_prep.fetching.fetch import fetch, plan_text

    known = find_known_set(name)
    folder = out or Path("data") / name
    refuse_file(folder)
    typer.echo(plan_text(known, folder))
    if known.request is not None:
        return
    if not accept:
        typer.echo("Nothing is fetched yet: read the terms, then add --accept.")
        return
    fetch(known, folder)
    typer.echo(f"fetched; to check it: {printed_command('data', 'check', folder)}")


def data_audit(
    train: Annotated[
        Path,
        typer.Argument(
            callback=made_by("faceverif align"), help="The training set: a folder made by `faceverif align`."
        ),
    ],
    against: Annotated[
        Path,
        typer.Option(
            "--against", callback=made_by("faceverif align"), help="An aligned evaluation set, such as LFW."
        ),
    ],
    model: Model,
    out: OutDir,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
    flip: Flip = True,
    false_match_rate: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Expected share of pairs of different people that are taken for one person."
        ),
    ] = 1e-7,
    false_alarm_rate: Annotated[
        float,
        typer.Option(min=0, max=1, help="Expected share of correctly labelled photos that are suspected."),
    ] = 1e-3,
    on: On = THIS_MACHINE,
    device: Device = "auto",
) -> None:
    """Find shared people, copies and wrong labels, and list what the training should leave out."""
    from data_prep.work.here import ThisProcess
    from faceverif.models import load_embedder, refuse_options_of_onnx

    engine = engine_on(on, here=ThisProcess(), device=device)
    device = "auto" if engine.outlasts else device  # of this process, which then embeds a few crops only
    refuse_options_of_onnx(model[0], preprocess=preprocess, output=output)
    say(f"auditing {train} against {against}: {out}")
    embedder = load_embedder(model[0], preprocess=preprocess, output=output, device=device)

    from faceverif.audit.run import AuditSettings, audit

    settings = AuditSettings(false_match_rate, false_alarm_rate, flip)
    typer.echo(audit(embedder, train, against, out=out, settings=settings, engine=engine).text())
    typer.echo(f"exclusions: {out / 'exclusions.csv'}\nreport: {out / REPORT_NAME}")


def data_export(
    aligned: Annotated[
        Path,
        typer.Argument(
            callback=made_by("faceverif align"),
            help="Folder made by `faceverif align`, or a train.rec of crops.",
        ),
    ],
    out: Annotated[Path, typer.Argument(callback=can_be_folder, help="Folder for the shards: new or empty.")],
    to: Annotated[
        Literal["webdataset"], typer.Option("--format", help="What to write: so far WebDataset shards alone.")
    ] = "webdataset",
    shard_mb: Annotated[float, typer.Option(min=0, help="Largest size of a shard, in MB.")] = 500,
    part: Annotated[
        str | None,
        typer.Option(
            help="Write one part: 2/8 for the second of eight. Of a train.rec only that part is read."
        ),
    ] = None,
) -> None:
    """Write aligned crops as WebDataset shards, which `train` and `embed` read as they are."""
    from data_prep.dataset.part import Part

    own = None if part is None else Part.parse(part)

    from data_prep.dataset.export import export_webdataset
    from data_prep.dataset.packed import load_aligned, load_part

    dataset, rows = (load_aligned(aligned), None) if own is None else load_part(aligned, own)
    typer.echo(export_webdataset(dataset, out, shard_mb=shard_mb, rows=rows, part=own).text())
