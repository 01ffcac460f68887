"""Commands that bring models in and out, and give them heads: import, export, fit-head."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from data_prep.device import choose_device
from data_prep.progress import say
from faceverif.cli.checks import can_be_folder, exists, made_by, names_model
from faceverif.cli.options import DataDir, Device, FolderOfModel, OnnxOutput, Preprocess
from faceverif.exporting.request import ExportRequest, Target, chosen_precision


def import_model_file(
    file: Annotated[
        Path,
        typer.Argument(
            callback=exists,
            help="Weights by InsightFace, AdaFace, CVLface, MagFace or facenet-pytorch (.pth, .pt, .ckpt, "
            ".safetensors), a model.safetensors by faceverif, or an .onnx file, which needs --preprocess.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", callback=can_be_folder, help="Folder for the model; other commands take it as --model."
        ),
    ],
    colours: Annotated[
        Literal["rgb", "bgr"] | None,
        typer.Option(help="Colour order of the network; default: its publishers'."),
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="Crops that it was trained on; default: its publishers'.")
    ] = None,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
) -> None:
    """Turn other people's model into one that embeds, verifies, trains and can be attacked here."""
    if template is not None:
        from data_prep.alignment import find_template

        find_template(template)

    from faceverif.models.importing import ImportSettings, import_model

    settings = ImportSettings(colours=colours, template=template, preprocess=preprocess, output=output)
    typer.echo(import_model(file, out, settings=settings).text())


def fit_head(
    model: FolderOfModel,
    data: DataDir,
    out: Annotated[
        Path,
        typer.Option(
            "--out", callback=can_be_folder, help="Folder for model and head; `reject` takes it as a run."
        ),
    ],
    head: Annotated[
        str,
        typer.Option(
            help="lgm (class means and one covariance), softmax, cosface, or any other of `faceverif train`."
        ),
    ] = "lgm",
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help="Replace a setting: --set data.held_out_per_identity=2. May be repeated."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Teach a finished model people of your own: fit a head to its embeddings, which stay as they are."""
    from faceverif.config.fitted_head import fitted_head_config
    from faceverif.config.paths import refuse_missing_paths

    config = fitted_head_config(head, data=str(data), overrides=override or [])
    refuse_missing_paths(config)
    say(f"fitting a head of {data} to {model[0]}: {out}")

    choose_device(device)

    from faceverif.training.fit_head import fit_head as fit

    typer.echo(fit(model[0], config, out).text())


def export_model_file(
    to: Annotated[
        Target,
        typer.Option(
            "--to", help="onnx: for ONNX Runtime and others; torch-export: a PyTorch program, .pt2."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="The .onnx or .pt2 file, new; its model card is written beside it.")
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            callback=names_model,
            help="Folder of a run or of an imported model; default: the model that comes with faceverif.",
        ),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store weights as float16: half the size.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Compute with 8 bits: a quarter of the size; ONNX only.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            callback=made_by("faceverif align"),
            help="Aligned crops for the check, and for --int8 to calibrate on; default: drawn people.",
        ),
    ] = None,
    protocol: Annotated[
        Path | None,
        typer.Option(callback=exists, help="Pairs of --data: the accuracy is measured before and after."),
    ] = None,
) -> None:
    """Write a model as one file for deployment, checked against the model, with a model card."""
    from faceverif.models.location import model_or_shipped

    precision = chosen_precision(half=half, int8=int8)
    request = ExportRequest(model_or_shipped(model), to, out, precision, data, protocol)

    from faceverif.exporting.export import export_model

    typer.echo(export_model(request).text())
