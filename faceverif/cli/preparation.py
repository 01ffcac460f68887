"""Commands that make and inspect data: align, data check, fetch, audit, export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from data_prep.atomic import refuse_file
from faceverif.cli.app import app, data_app
from faceverif.cli.options import (
    Flip,
    OnnxFile,
    OnnxOutput,
    OptionalRun,
    OutDir,
    Preprocess,
    Workers,
)


@app.command()
def align(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder of photos per identity, CelebA, CFP, InsightFace's train.rec or a .bin file, "
            "WebDataset shards."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Where crops and manifest go; started again, it goes on.")],
    template: Annotated[
        str, typer.Option(help="arcface-64, arcface-112, arcface-128 or arcface-160.")
    ] = "arcface-112",
    min_face: Annotated[int, typer.Option(min=12, help="Smallest face to look for, in pixels.")] = 30,
    workers: Workers = 0,
    allow_huge: Annotated[bool, typer.Option(help="Take photos over 50 megapixels too.")] = False,
) -> None:
    """Find faces, warp them to a template, and write crops with a manifest."""
    from data_prep.prepare.align_folder import align_folder
    from data_prep.prepare.task import AlignSettings

    settings = AlignSettings(template=template, min_face_px=min_face, allow_huge=allow_huge)
    summary = align_folder(source, out, settings=settings, workers=workers)
    typer.echo(summary.text())


@data_app.command("check")
def data_check(
    path: Annotated[
        Path, typer.Argument(help="Photos in any form that `align` reads, an aligned set, a list of pairs.")
    ],
    every: Annotated[bool, typer.Option("--all", help="Decode every photo, not a sample.")] = False,
) -> None:
    """Say what a data set is and whether it is whole; ends with 1 where it is not."""
    from data_prep.check import check

    report = check(path, every=every)
    typer.echo(report.text())
    raise typer.Exit(0 if report.whole else 1)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="lfw, cfp, agedb, calfw, cplfw, casia-webface or celeba.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where it goes; else data/NAME.")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="I have read the terms: fetch it.")] = False,
) -> None:
    """Say where a data set is and on what terms; with --accept, fetch, verify and unpack it."""
    from data_prep.fetching.fetch import fetch, plan_text
    from data_prep.fetching.known_sets import find_known_set

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
    typer.echo(f"fetched; to look it over: faceverif data check {folder}")


@data_app.command("audit")
def data_audit(
    train: Annotated[Path, typer.Argument(help="The training set: a folder made by `faceverif align`.")],
    against: Annotated[Path, typer.Option("--against", help="An aligned evaluation set, such as LFW.")],
    out: OutDir,
    run: OptionalRun = None,
    onnx: OnnxFile = None,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
    flip: Flip = True,
    false_match_rate: Annotated[
        float, typer.Option(help="Of pairs of different people, the share that may be taken for one.")
    ] = 1e-7,
    false_alarm_rate: Annotated[
        float, typer.Option(help="Of rightly labelled photos, the share that may be suspected.")
    ] = 1e-3,
) -> None:
    """Find shared people, copies and wrong labels, and list what training should leave out."""
    from faceverif.audit.run import AuditSettings, audit
    from faceverif.models import load_embedder

    embedder = load_embedder(run=run, onnx=onnx, preprocess=preprocess, output=output)
    settings = AuditSettings(false_match_rate, false_alarm_rate, flip)
    typer.echo(audit(embedder, train, against, out=out, settings=settings).text())
    typer.echo(f"exclusions: {out / 'exclusions.csv'}\nreport: {out / 'report.html'}")


class ExportFormat(StrEnum):
    """What `faceverif data export` writes."""

    WEBDATASET = "webdataset"


@data_app.command()
def export(
    aligned: Annotated[
        Path, typer.Argument(help="Folder made by `faceverif align`, or a train.rec of crops.")
    ],
    out: Annotated[Path, typer.Argument(help="Where the shards go: a new or empty folder.")],
    to: Annotated[ExportFormat, typer.Option("--format", help="What to write.")],
    shard_mb: Annotated[float, typer.Option(min=0, help="Largest size of a shard, in MB.")] = 500,
) -> None:
    """Write aligned crops in a format of the field; training and embedding read it where it lies."""
    from data_prep.dataset.export import export_webdataset
    from data_prep.dataset.packed import load_aligned

    typer.echo(export_webdataset(load_aligned(aligned), out, shard_mb=shard_mb).text())
