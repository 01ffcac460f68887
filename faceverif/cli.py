"""The command line: one function a command; what a command needs is imported when it runs."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from data_prep.atomic import disk_is_full, refuse_file
from data_prep.errors import InputError

app = typer.Typer(
    name="faceverif",
    help="Train face embeddings, verify them by the field's protocols, trace every number.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

data_app = typer.Typer(help="Check, fetch, audit and export data.", no_args_is_help=True)
app.add_typer(data_app, name="data")

_INTERRUPTED = 130

RunDir = Annotated[Path, typer.Option("--run", help="Folder of a training run.")]
OutDir = Annotated[Path, typer.Option("--out", help="Folder for the results.")]
DataDir = Annotated[
    Path,
    typer.Option(
        "--data", help="Folder made by `faceverif align`, a train.rec or WebDataset shards of crops."
    ),
]
OptionalRun = Annotated[Path | None, typer.Option("--run", help="Folder of a training run.")]
OnnxFile = Annotated[Path | None, typer.Option("--onnx", help="A foreign model; needs --preprocess.")]
Preprocess = Annotated[
    str | None,
    typer.Option(help="What --onnx expects: rgb-imagenet, rgb-127.5, bgr-127.5, rgb-255, bgr-255."),
]
Flip = Annotated[bool, typer.Option(help="Average the embedding with that of the mirrored crop.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a key: --set head.margin=0.4")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of --run.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that decode photos; 0: one per core.")]


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
    from data_prep.prepare import AlignSettings, align_folder

    settings = AlignSettings(template=template, min_face_px=min_face, allow_huge=allow_huge)
    summary = align_folder(source, out, settings=settings, workers=workers)
    typer.echo(summary.text())


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A YAML file; configs/ has examples.")],
    run: RunDir,
    override: Overrides = None,
    resume: Resume = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check everything, measure a few steps, say what the run takes; write nothing."
        ),
    ] = False,
) -> None:
    """Train a face embedding model."""
    from faceverif.config import load_run_config
    from faceverif.training.dry_run import rehearse
    from faceverif.training.loop import train as run_training

    settings = load_run_config(config, override or [])
    if dry_run:
        typer.echo(rehearse(settings, run, resume=resume).text())
    else:
        run_training(settings, run, resume=resume)


@app.command()
def classify(
    config: Annotated[Path, typer.Argument(help="A YAML file; configs/mnist and configs/cifar10 hold some.")],
    run: RunDir,
    override: Overrides = None,
    resume: Resume = False,
) -> None:
    """Train an image classifier with any of the losses: the papers' MNIST and CIFAR side."""
    from faceverif.classification.config import ClassificationConfig
    from faceverif.classification.training import train_classifier
    from faceverif.config import load_config

    train_classifier(load_config(ClassificationConfig, config, override or []), run, resume=resume)


@app.command()
def experiment(
    config: Annotated[Path, typer.Argument(help="A table of methods and seeds, as configs/mnist/*.yaml.")],
    out: OutDir,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A method or case; may be repeated.")
    ] = None,
    override: Overrides = None,
) -> None:
    """Run a paper's table, methods x seeds, beside its numbers; started again, it goes on."""
    from faceverif.experiment.run import run_experiment

    table = run_experiment(config, out, only=only or [], overrides=override or [])
    typer.echo(table.markdown())
    typer.echo(f"report: {out / 'report.html'}")


@app.command()
def reject(
    config: Annotated[Path, typer.Argument(help="Models, attacks and detectors: configs/rejection/*.yaml.")],
    out: OutDir,
    override: Overrides = None,
) -> None:
    """Attack models, tell attacked inputs from clean ones, and report how far that goes."""
    from faceverif.config import load_config
    from faceverif.experiment.images import ImageTask
    from robustness.rejection import run_rejection
    from robustness.rejection_config import RejectionConfig

    settings = load_config(RejectionConfig, config, override or [])
    typer.echo(f"report: {run_rejection(settings, out, train=ImageTask().finish)}")


@app.command()
def embed(
    data: DataDir,
    out: Annotated[Path, typer.Option("--out", help="A .parquet file: photo, identity, status, embedding.")],
    run: OptionalRun = None,
    onnx: OnnxFile = None,
    preprocess: Preprocess = None,
    flip: Flip = True,
) -> None:
    """Embed every crop of an aligned data set."""
    from faceverif.embedder import load_embedder
    from faceverif.verification.embeddings import embed_to_file

    embed_to_file(load_embedder(run=run, onnx=onnx, preprocess=preprocess), data, out, flip=flip)
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
    from faceverif.embedder import load_embedder
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
    embedder = load_embedder(run=run, onnx=onnx, preprocess=preprocess)
    options = {"flip": flip, "subtract_mean": subtract_mean, "allow_partial": allow_partial}
    if protocol is not None:
        typer.echo(run_protocol(embedder, data[0], protocol, out=out, **options).text())
    elif suite is not None:
        typer.echo(verify_suite(embedder, suite, data, out=out, **options).markdown())
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


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    other: Annotated[Path | None, typer.Argument(help="Another one, to be shown beside it.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where report-compare.html of two runs goes.")
    ] = None,
) -> None:
    """Write the run's report.html again from its files; with OTHER, show what differs between the two."""
    from faceverif.report import write_run_report
    from faceverif.run_comparison import compare_runs, write_comparison

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
    from data_prep.export import export_webdataset
    from data_prep.packed import load_aligned

    typer.echo(export_webdataset(load_aligned(aligned), out, shard_mb=shard_mb).text())


@app.command("fit-faces")
def fit_faces(
    data: DataDir,
    out: Annotated[Path, typer.Option("--out", help="The .npz file to write, at most 3 MB.")],
    components: Annotated[int, typer.Option(min=1, help="Principal components to keep.")] = 200,
) -> None:
    """Fit the statistical face model behind the synthetic people to an aligned set."""
    from data_prep.packed import load_aligned
    from data_prep.synthetic import fit_face_model

    fit_face_model(load_aligned(data), components=components).save(out)
    typer.echo(f"face model: {out}")


@app.command()
def synthesise(
    out: Annotated[Path, typer.Argument(help="Where the photos go, a folder per identity.")],
    identities: Annotated[int, typer.Option(min=1, help="How many people.")] = 60,
    photos: Annotated[int, typer.Option(min=1, help="Photos of each.")] = 12,
    seed: Annotated[int, typer.Option(help="The same seed gives the same photos.")] = 0,
    model: Annotated[
        Path | None, typer.Option(help="A face model by `faceverif fit-faces`; else the one shipped.")
    ] = None,
) -> None:
    """Draw photos of people who do not exist."""
    from data_prep.synthetic import load_face_model, synthesise_photos

    synthesise_photos(load_face_model(model), out, identities=identities, photos=photos, seed=seed)
    typer.echo(f"photos: {out}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for photos, run and report.")] = Path(
        "runs/demo"
    ),
) -> None:
    """The whole chain on synthetic people, without a download: draw, align, train, verify, reject, report."""
    from faceverif.demo import run_demo
    from faceverif.experiment.images import ImageTask
    from robustness.demo import demo_rejection
    from robustness.rejection import run_rejection

    def reject_in(run: Path, folder: Path) -> None:
        run_rejection(demo_rejection(run), folder, train=ImageTask().finish)

    typer.echo(f"report: {run_demo(out, reject=reject_in)}")


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
    from data_prep.fetch import fetch, plan_text
    from data_prep.known_sets import find_known_set

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
    from faceverif.embedder import load_embedder

    embedder = load_embedder(run=run, onnx=onnx, preprocess=preprocess)
    settings = AuditSettings(false_match_rate, false_alarm_rate, flip)
    typer.echo(audit(embedder, train, against, out=out, settings=settings).text())
    typer.echo(f"exclusions: {out / 'exclusions.csv'}\nreport: {out / 'report.html'}")


def main() -> None:
    """Entry point: what the user can mend is one line and exit code 2, never a traceback."""
    try:
        code = app(standalone_mode=False)
        if code == _INTERRUPTED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except typer.TyperException as error:  # an option or argument that the parser refuses
        _refuse_usage(error.format_message())
    except InputError as error:
        print(f"faceverif: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("faceverif: interrupted; the same command goes on where it stopped", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if not disk_is_full(error):
            raise
        print(
            "faceverif: the disk is full. Free some space: the same command goes on where it stopped",
            file=sys.stderr,
        )
        sys.exit(2)


def _refuse_usage(message: str) -> NoReturn:
    """End with 2, on one line; the message is empty where the whole help was printed already."""
    if message:
        line = " ".join(message.split()).removesuffix(".")
        print(f"faceverif: {line}. Add --help to see what the command takes.", file=sys.stderr)
    sys.exit(2)
