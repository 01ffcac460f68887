"""Commands that bring models in: import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from faceverif.cli.checks import can_be_folder, exists


def import_model_file(
    file: Annotated[
        Path,
        typer.Argument(
            callback=exists,
            help="Weights by InsightFace, AdaFace, CVLface, MagFace or facenet-pytorch: .pth, .pt, .ckpt, "
            ".safetensors.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", callback=can_be_folder, help="Folder for the model; other commands take it as --run."
        ),
    ],
    colours: Annotated[
        Literal["rgb", "bgr"] | None,
        typer.Option(help="Colour order of the network; default: its publishers'."),
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="Crops that it was trained on; default: its publishers'.")
    ] = None,
) -> None:
    """Turn other people's weights into a model that embeds, verifies and trains here."""
    from faceverif.models.importing import ImportSettings, import_model

    settings = ImportSettings(colours=colours, template=template)
    typer.echo(import_model(file, out, settings=settings).text())
