"""The command line: one function a command; what a command needs is imported when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from data_prep.errors import InputError

app = typer.Typer(
    name="faceverif",
    help="Train face embeddings, verify them by the field's protocols, trace every number.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RunDir = Annotated[Path, typer.Option("--run", help="Folder of a training run.")]
OutDir = Annotated[Path, typer.Option("--out", help="Folder for the results.")]
DataDir = Annotated[Path, typer.Option("--data", help="Folder made by `faceverif align`.")]
OptionalRun = Annotated[Path | None, typer.Option("--run", help="Folder of a training run.")]
OnnxFile = Annotated[Path | None, typer.Option("--onnx", help="A foreign model; needs --preprocess.")]
Preprocess = Annotated[
    str | None,
    typer.Option(help="What --onnx expects: rgb-imagenet, rgb-127.5, bgr-127.5, rgb-255, bgr-255."),
]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a key: --set head.margin=0.4")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of --run.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that decode photos; 0: one per core.")]


@app.command()
def align(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder of photos per identity, CelebA, CFP, InsightFace's train.rec or a .bin file."
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
) -> None:
    """Train a face embedding model."""
    from faceverif.config import load_run_config
    from faceverif.training.loop import train as run_training

    run_training(load_run_config(config, override or []), run, resume=resume)


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
    from faceverif.classification.experiment import run_experiment

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
    from faceverif.classification.training import finish_training
    from faceverif.config import load_config
    from robustness.rejection import run_rejection
    from robustness.rejection_config import RejectionConfig

    settings = load_config(RejectionConfig, config, override or [])
    typer.echo(f"report: {run_rejection(settings, out, train=finish_training)}")


@app.command()
def embed(
    data: DataDir,
    out: Annotated[Path, typer.Option("--out", help="A .parquet file: photo, identity, status, embedding.")],
    run: OptionalRun = None,
    onnx: OnnxFile = None,
    preprocess: Preprocess = None,
    flip: Annotated[bool, typer.Option(help="Average the embedding with that of the mirrored crop.")] = True,
) -> None:
    """Embed every crop of an aligned data set."""
    from faceverif.embedder import load_embedder
    from faceverif.verification.embeddings import embed_to_file

    embed_to_file(load_embedder(run=run, onnx=onnx, preprocess=preprocess), data, out, flip=flip)
    typer.echo(f"embeddings: {out}")


@app.command()
def verify(
    data: DataDir,
    protocol: Annotated[
        Path,
        typer.Option(
            help="LFW pairs.txt or pairsDevTest.txt, CFP's Split/FF or Split/FP, a .bin file, CALFW's or "
            "CPLFW's list, or a CSV: left,right,same[,fold]."
        ),
    ],
    out: OutDir,
    run: OptionalRun = None,
    onnx: OnnxFile = None,
    preprocess: Preprocess = None,
    flip: Annotated[bool, typer.Option(help="Average the embedding with that of the mirrored crop.")] = True,
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
    """Run a verification protocol: accuracy, AUC, EER, TAR at FAR, and a report."""
    from faceverif.embedder import load_embedder
    from faceverif.verification.runner import verify as run_protocol

    result = run_protocol(
        load_embedder(run=run, onnx=onnx, preprocess=preprocess),
        data,
        protocol,
        out=out,
        flip=flip,
        subtract_mean=subtract_mean,
        allow_partial=allow_partial,
    )
    typer.echo(result.text())
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
def report(run: Annotated[Path, typer.Argument(help="Folder of a training run.")]) -> None:
    """Write the run's report.html again from its files."""
    from faceverif.report import write_run_report

    typer.echo(f"report: {write_run_report(run)}")


@app.command("fit-faces")
def fit_faces(
    data: DataDir,
    out: Annotated[Path, typer.Option("--out", help="The .npz file to write, at most 3 MB.")],
    components: Annotated[int, typer.Option(min=1, help="Principal components to keep.")] = 200,
) -> None:
    """Fit the statistical face model behind the synthetic people to an aligned set."""
    from data_prep.manifest import AlignedDataset
    from data_prep.synthetic import fit_face_model

    fit_face_model(AlignedDataset.load(data), components=components).save(out)
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
    from faceverif.classification.training import finish_training
    from faceverif.demo import run_demo
    from robustness.demo import demo_rejection
    from robustness.rejection import run_rejection

    def reject_in(run: Path, folder: Path) -> None:
        run_rejection(demo_rejection(run), folder, train=finish_training)

    typer.echo(f"report: {run_demo(out, reject=reject_in)}")


def main() -> None:
    """Entry point: what the user can mend is one line and exit code 2, never a traceback."""
    try:
        app()
    except InputError as error:
        print(f"faceverif: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("faceverif: interrupted; the same command goes on where it stopped", file=sys.stderr)
        sys.exit(130)
