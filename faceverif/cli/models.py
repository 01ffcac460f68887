"""Commands that bring models in: import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from faceverif.cli.app import app


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="Weights by InsightFace, AdaFace, CVLface, MagFace or facenet-pytorch: .pth, .pt, .ckpt, "
            ".safetensors."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the model; other commands take it as --run.")
    ],
    colours: Annotated[
        Literal["rgb", "bgr"] | None,
        typer.Option(help="Colour order of the network; its publishers' unless given."),
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="Crops that it was trained on; its publishers' unless given.")
    ] = None,
) -> None:
    """Turn other people's weights into a model that embeds, verifies and trains here."""
    from faceverif.models.importing import ImportSettings, import_model

    settings = ImportSettings(colours=colours, template=template)
    typer.echo(import_model(file, out, settings=settings).text())
