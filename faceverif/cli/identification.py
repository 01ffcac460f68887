"""Commands that search a gallery: rank."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_prep.errors import InputError
from data_prep.progress import say
from faceverif.cli.checks import exists
from faceverif.cli.options import DataDir, Device, Flip, Model, OnnxOutput, OutDir, Preprocess

if TYPE_CHECKING:
    from data_prep.protocols.identification import IdentificationProtocol

GalleryList = Annotated[
    Path | None,
    typer.Option(
        "--gallery",
        callback=exists,
        help="A CSV with the columns photo,identity: who is enrolled. A photo without an identity is of "
        "somebody unknown.",
    ),
]
ProbeList = Annotated[
    Path | None,
    typer.Option(
        "--probes",
        callback=exists,
        help="A CSV with the columns photo,identity: who is searched. Where the identity is empty or not in "
        "the gallery, the probe shows a stranger.",
    ),
]
Lists = Annotated[
    Path | None,
    typer.Option(
        "--protocol",
        callback=exists,
        help="Instead of the two: a folder with gallery.csv and probes.csv, or TinyFace's Testing_Set.",
    ),
]


def rank(
    data: DataDir,
    model: Model,
    out: OutDir,
    gallery: GalleryList = None,
    probes: ProbeList = None,
    protocol: Lists = None,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
    flip: Flip = True,
    device: Device = "auto",
) -> None:
    """Search many photos in a gallery: rank-1, 5 and 10, TPIR at FPIR, and a report.

    To find the person on a photo of your own, use `faceverif identify`.
    """
    lists = _lists(gallery, probes, protocol)
    from faceverif.models import load_embedder

    say(f"searching {len(lists.probes):,} probes in {len(lists.gallery):,} gallery photos: {out}")
    embedder = load_embedder(model[0], preprocess=preprocess, output=output, device=device)

    from faceverif.identification.runner import rank as search_all

    typer.echo(search_all(embedder, data, lists, out=out, flip=flip).text())
    typer.echo(f"report: {out / 'report.html'}")


def _lists(gallery: Path | None, probes: Path | None, protocol: Path | None) -> IdentificationProtocol:
    """The lists that the options name.

    Raises:
        InputError: not one form of them, or they are broken.
    """
    from data_prep.protocols.identification import load_identification, load_lists

    if gallery is not None and probes is not None and protocol is None:
        return load_lists(gallery, probes)
    if protocol is not None and gallery is None and probes is None:
        return load_identification(protocol)
    options = (("--gallery", gallery), ("--probes", probes), ("--protocol", protocol))
    raise InputError(
        "rank",
        "needs --gallery FILE and --probes FILE, or --protocol FOLDER",
        got=" and ".join(name for name, value in options if value is not None) or "none of them",
        fix="Give the two files, or the folder alone.",
    )
