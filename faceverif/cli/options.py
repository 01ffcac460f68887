"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_prep.work import CLUSTERS, cluster
from data_prep.work.job import Engine
from faceverif.cli.checks import (
    can_be_folder,
    can_run_on,
    exists,
    known_device,
    known_preprocessing,
    made_by,
    one_model,
    one_model_folder,
    one_run_folder,
)
from faceverif.template_matching.options import Pooling

ConfigFile = Annotated[Path, typer.Argument(help="A YAML file; configs/ has examples.")]
NewRun = Annotated[
    Path, typer.Option("--run", callback=can_be_folder, help="Folder of the run: new, or one to continue.")
]
# A list, so that two models are seen; typer would take the last without a word. `one_model` leaves one.
_MODEL_NAMES = ("--model", "--run", "--onnx")
_ANY_MODEL = "Folder of a run or of an imported model, or an .onnx file"
Model = Annotated[
    list[Path], typer.Option(*_MODEL_NAMES, callback=one_model, metavar="<path>", help=f"{_ANY_MODEL}.")
]
OptionalModel = Annotated[
    list[Path] | None,
    typer.Option(
        *_MODEL_NAMES,
        callback=one_model,
        metavar="<path>",
        help=f"{_ANY_MODEL}; default: the model that comes with faceverif.",
    ),
]
FolderOfModel = Annotated[
    list[Path],
    typer.Option(
        *_MODEL_NAMES,
        callback=one_model_folder,
        metavar="<path>",
        help="Folder of a run or of an imported model; an .onnx file must be imported first.",
    ),
]
FolderOfRun = Annotated[
    list[Path],
    typer.Option(
        *_MODEL_NAMES,
        callback=one_run_folder,
        metavar="<path>",
        help="Folder of a run, of faces or of classes, or of an imported model; an .onnx file must be "
        "imported first.",
    ),
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
Preprocess = Annotated[
    str | None,
    typer.Option(
        callback=known_preprocessing,
        help="What a model from elsewhere was fed. By name: rgb-imagenet, or with x in 0..255: rgb-127.5 is "
        "(x - 127.5) / 127.5, rgb-128 is (x - 127.5) / 128, rgb-255 is x / 255, rgb-raw is x. By number, "
        "for x in 0..255: rgb:mean=127.5,std=128, with one number or three. Likewise with bgr.",
    ),
]
OnnxOutput = Annotated[
    str | None,
    typer.Option(
        "--output",
        help="Name of the embedding among the outputs of an .onnx file, where several could be it.",
    ),
]
Thresholds = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        callback=exists,
        help="Thresholds by `faceverif calibrate --out`; default: those with the model.",
    ),
]
DecidingFar = Annotated[
    float, typer.Option("--far", min=0, max=1, help="False accept rate whose calibrated threshold decides.")
]
RejectAt = Annotated[
    float | None,
    typer.Option(
        "--reject",
        min=0,
        max=1,
        help="False-rejection rate: photos that look more adversarial than its threshold are rejected. "
        "The model needs `faceverif calibrate-rejection` first.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        callback=known_device,
        help="Where to compute: auto, cpu, cuda, cuda:N or mps. auto takes a CUDA GPU where there is one.",
    ),
]
Flip = Annotated[bool, typer.Option(help="Average the embedding with that of the mirrored crop.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Replace a key of the config: --set training.epochs=5. May be repeated."),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Refuse a --run without a checkpoint; with one, the same command continues anyway."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Check everything, measure a few steps, print what the run needs; write nothing."
    ),
]
AllowPartial = Annotated[
    bool,
    typer.Option(
        "--allow-partial", help="Leave out pairs whose photos are missing, and say so in every output."
    ),
]
PoolingName = Annotated[
    Pooling | None,
    typer.Option(
        "--pooling",
        help="For IJB-B and IJB-C: the weight of a photo in its IJB template: equal, the detector's "
        "score, the norm of its embedding, or both. Default: both, as InsightFace's evaluation does.",
    ),
]
Workers = Annotated[int, typer.Option(min=0, help="Processes that decode photos; 0: one per core.")]
On = Annotated[
    str,
    typer.Option(
        "--on",
        callback=can_run_on,
        help="Where the work runs: this-machine, or ray. That is the Ray cluster that RAY_ADDRESS names, or "
        "that runs on this machine; else one is started here.",
    ),
]


def chosen_model(named: list[Path] | None) -> Path:
    """The model that an option names; without one, that of the package."""
    from faceverif.models.location import model_or_shipped

    return model_or_shipped(named[0] if named else None)


def engine_on(on: str, *, here: Engine, device: str | None, workers: int = 0) -> Engine:
    """The engine that `--on` names.

    Args:
        on: its value.
        here: what does the work on this machine.
        device, workers: for a cluster.
    """
    return cluster(on, workers=workers, device=device) if on in CLUSTERS else here
