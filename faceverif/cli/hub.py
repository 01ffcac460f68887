"""Commands about the Hugging Face hub: hub push, hub pull."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faceverif.cli.checks import can_be_folder, is_repository, names_model
from faceverif.extras import require_extra

Repo = Annotated[
    str, typer.Argument(callback=is_repository, help="OWNER/NAME on the hub, as in anna/face-model.")
]


def hub_push(
    model: Annotated[
        Path,
        typer.Argument(
            callback=names_model,
            help="Folder of a run or of an imported model, or an .onnx file with its card.",
        ),
    ],
    repo: Repo,
    private: Annotated[bool, typer.Option("--private", help="Hide a new repository from others.")] = False,
) -> None:
    """Upload a model with its thresholds and its card. Needs the extra `hub`."""
    require_extra("hub", "huggingface_hub", field="hub push")

    from faceverif.hub.transfer import push

    typer.echo(f"pushed: {push(model, repo, private=private)}")


def hub_pull(
    repo: Repo,
    out: Annotated[Path, typer.Argument(callback=can_be_folder, help="Folder for the model: new or empty.")],
    revision: Annotated[
        str | None, typer.Option("--revision", help="A branch, tag or commit; default: the newest.")
    ] = None,
) -> None:
    """Download a model that was pushed, and check its file. Needs the extra `hub`."""
    require_extra("hub", "huggingface_hub", field="hub pull")

    from faceverif.hub.transfer import pull

    typer.echo(f"model: {pull(repo, out, revision=revision)}")
