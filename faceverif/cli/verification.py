"""Commands that use a model: embed, verify, compare, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_prep.errors import InputError
from faceverif.cli.app import app
from faceverif.cli.options import (
    DataDir,
    Flip,
    OnnxFile,
    OnnxOutput,
    OptionalRun,
    OutDir,
    Preprocess,
    RunDir,
)


@app.command()
def embed(
    data: DataDir,
    out: Annotated[Path, typer.Option("--out", help="A .parquet file: photo, identity, status, embedding.")],
    run: OptionalRun = None,
    onnx: OnnxFile = None,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
    flip: Flip = True,
) -> None:
    """Embed every crop of an aligned data set."""
    from faceverif.models import load_embedder
    from faceverif.verification.embedding_file import embed_to_file

    embed_to_file(
        load_embedder(run=run, onnx=onnx, preprocess=preprocess, output=output), data, out, flip=flip
    )
    typer.echo(f"embeddings: {out}")


@app.command()
def verify(
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            help="Folder made by `faceverif align`; for --suite one that holds several, or given repeatedly.",
        ),
    ],
    out: OutDir,
    protocol: Annotated[
        Path | None,
        typer.Option(
            help="LFW pairs.txt or pairsDevTest.txt, CFP's Split/FF or Split/FP, a .bin file, CALFW's or "
            "CPLFW's list, or a CSV: left,right,same[,fold]."
        ),
    ] = None,
    suite: Annotated[
        Path | None,
        typer.Option(
            help="Instead of --protocol: a folder with protocols of LFW, CALFW, CFP, CPLFW and AgeDB-30; "
            "all that are there run, and a table compares them with published numbers."
        ),
    ] = None,
    run: OptionalRun = None,
    onnx: OnnxFile = None,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
    flip: Flip = True,
    subtract_mean: Annotated[
        bool, typer.Option("--subtract-mean", help="Subtract the mean embedding of the other folds first.")
    ] = False,
    allow_partial: Annotated[
        bool,
        typer.Option(
            "--allow-partial", help="Run with the pairs that are there, and say so in every output."
        ),
    ] = False,
) -> None:
    """Run a verification protocol, or all of the field's: accuracy, AUC, EER, TAR at FAR, and a report."""
    from faceverif.models import load_embedder
    from faceverif.verification.options import VerificationOptions
    from faceverif.verification.runner import verify as run_protocol
    from faceverif.verification.suite import verify_suite

    if (protocol is None) == (suite is None):
        raise InputError(
            "verify",
            "needs --protocol FILE or --suite FOLDER",
            got="neither" if protocol is None else "both",
            fix="Give one of the two.",
        )
    if protocol is not None and len(data) > 1:
        raise InputError(
            "--data", "must be one for --protocol", got=f"{len(data)} times --data", fix="Give one."
        )
    embedder = load_embedder(run=run, onnx=onnx, preprocess=preprocess, output=output)
    options = VerificationOptions(flip=flip, subtract_mean=subtract_mean, allow_partial=allow_partial)
    if protocol is not None:
        typer.echo(run_protocol(embedder, data[0], protocol, out=out, options=options).text())
    elif suite is not None:
        typer.echo(verify_suite(embedder, suite, data, out=out, options=options).markdown())
    typer.echo(f"report: {out / 'report.html'}")


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A photo.")],
    second: Annotated[Path, typer.Argument(help="Another photo.")],
    run: RunDir,
    far: Annotated[float, typer.Option(help="False accept rate whose calibrated threshold decides.")] = 0.01,
    reject: Annotated[
        float | None,
        typer.Option(
            help="False-rejection rate: photos that look more adversarial than its threshold are rejected; "
            "needs `faceverif calibrate-rejection`."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Save the two crops side by side, as a PNG.")
    ] = None,
) -> None:
    """Are two photos of the same person?"""
    from faceverif.verification.compare import compare_photos

    guarded = None
    if reject is not None:
        from robustness.guard import load_guard

        guarded = load_guard(run, rate=reject)
    comparison = compare_photos(first, second, run=run, far=far, picture=out)
    text = comparison.text()
    typer.echo(text if guarded is None else guarded.answer((first, second), comparison.crops, decision=text))


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    other: Annotated[Path | None, typer.Argument(help="Another one, to be shown beside it.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where report-compare.html of two runs goes.")
    ] = None,
) -> None:
    """Write the run's report.html again from its files; with OTHER, show what differs between the two."""
    from faceverif.report.comparison import compare_runs, write_comparison
    from faceverif.report.run_page import write_run_report

    if (other is None) != (out is None):
        raise InputError(
            "--out",
            "belongs to two runs, and they need it",
            got="RUN OTHER without it" if out is None else "it with one run",
            fix="Run: faceverif report RUN OTHER --out FOLDER",
        )
    if other is None or out is None:
        typer.echo(f"report: {write_run_report(run)}")
        return
    comparison = compare_runs(run, other)
    typer.echo(comparison.text())
    typer.echo(f"report: {write_comparison(comparison, out)}")
