"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faceverif.cli.checks import can_be_folder, exists, made_by

ConfigFile = Annotated[Path, typer.Argument(help="A YAML file; configs/ has examples.")]
NewRun = Annotated[
    Path, typer.Option("--run", callback=can_be_folder, help="Folder of the run: new, or one to continue.")
]
TrainedRun = Annotated[
    Path, typer.Option("--run", callback=made_by("faceverif train"), help="Folder of a training run.")
]
OptionalRun = Annotated[
    Path | None, typer.Option("--run", callback=made_by("faceverif train"), help="Folder of a training run.")
]
OutDir = Annotated[Path, typer.Option("--out", callback=can_be_folder, help="Folder for the results.")]
DataDir = Annotated[
    Path,
    typer.Option(
        "--data",
        callback=made_by("faceverif align"),
        help="Folder made by `faceverif align`, a train.rec or WebDataset shards of crops.",
    ),
]
OnnxFile = Annotated[
    Path | None,
    typer.Option("--onnx", callback=exists, help="A model from elsewhere; it needs --preprocess."),
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        help="Pixels that the ONNX model takes: rgb-imagenet, rgb-127.5, bgr-127.5, rgb-255 or bgr-255."
    ),
]
OnnxOutput = Annotated[
    str | None,
    typer.Option(
        "--output", help="Name of the embedding among the ONNX model's outputs, where several could be it."
    ),
]
Flip = Annotated[bool, typer.Option(help="Average the embedding with that of the mirrored crop.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Replace a key of the config: --set head.margin=0.4. May be repeated."),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Refuse a --run without a checkpoint; with one, the same command continues anyway.",
    ),
]
Workers = Annotated[int, typer.Option(min=0, help="Processes that decode photos; 0: one per core.")]
