"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
OnnxOutput = Annotated[
    str | None,
    typer.Option("--output", help="Which output of --onnx is the embedding; needed where several could be."),
]
Flip = Annotated[bool, typer.Option(help="Average the embedding with that of the mirrored crop.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a key: --set head.margin=0.4")]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Refuse a --run without a checkpoint; with one, the same command continues anyway.",
    ),
]
Workers = Annotated[int, typer.Option(min=0, help="Processes that decode photos; 0: one per core.")]
