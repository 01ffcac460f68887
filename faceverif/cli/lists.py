"""Commands that make lists of aligned photos: data pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faceverif.cli.checks import can_be_file, made_by

AlignedPhotos = Annotated[
    Path,
    typer.Argument(
        callback=made_by("faceverif align"),
        help="Folder made by `faceverif align`, a train.rec or WebDataset shards of crops.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Of every draw: the same seed gives the same list.")]


def data_pairs(
    aligned: AlignedPhotos,
    out: Annotated[Path, typer.Option("--out", callback=can_be_file(".csv"), help="The list: a .csv file.")],
    folds: Annotated[int, typer.Option(min=2, help="Parts with people of their own.")] = 10,
    pairs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Genuine and impostor pairs together; default: of each person at most as many genuine pairs "
            "as photos, and at most 100,000 pairs.",
        ),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Make a protocol of your own photos: genuine and impostor pairs in balanced folds without shared people.

    `faceverif verify --protocol` reads it as it is.
    """
    from data_prep.dataset.packed import load_aligned
    from data_prep.made_lists.pair_file import make_pair_list

    dataset = load_aligned(aligned, field="ALIGNED")
    typer.echo(make_pair_list(dataset, out, folds=folds, pairs=pairs, seed=seed))
    typer.echo(
        f"next: faceverif verify --model MODEL --data {aligned} --protocol {out} --out results/{out.stem}"
    )
