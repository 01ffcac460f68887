"""Commands that make lists of aligned photos: data pairs, data gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_prep.errors import InputError
from data_prep.printed_command import printed_command
from faceverif.cli.checks import can_be_file, can_be_folder, exists, made_by

AlignedPhotos = Annotated[
    Path,
    typer.Argument(
        callback=made_by("faceverif align"),
        help="Folder made by `faceverif align`, a train.rec or WebDataset shards of crops.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Of every draw: the same seed gives the same list.")]


PairList = Annotated[Path, typer.Option("--out", callback=can_be_file(".csv"), help="The list: a .csv file.")]
Folds = Annotated[int, typer.Option(min=2, help="Parts with people of their own.")]
PairCount = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Genuine and impostor pairs together; default: of each person at most as many genuine pairs as "
        "photos, and at most 100,000 pairs.",
    ),
]
Within = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Draw impostor pairs of people alike in this column, such as sex: of --attributes, or one that "
        "you added to the manifest. It stands in the list, for `verify --groups`.",
    ),
]
AttributesFile = Annotated[
    Path | None,
    typer.Option(
        "--attributes", callback=exists, help="For --within: a CSV with a column photo or identity."
    ),
]
HoldOut = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Draw pairs of this share of the people alone, and name them in a second list, "
        "NAME-exclude.csv beside NAME.csv, for data.exclude: a training leaves them out then.",
    ),
]


def data_pairs(
    aligned: AlignedPhotos,
    out: PairList,
    folds: Folds = 10,
    pairs: PairCount = None,
    seed: Seed = 0,
    within: Within = None,
    attributes: AttributesFile = None,
    hold_out: HoldOut = None,
) -> None:
    """Make a protocol of your own photos: genuine and impostor pairs in balanced folds without shared people.

    `faceverif verify --protocol` reads it as it is.
    """
    from data_prep.dataset.packed import load_aligned
    from data_prep.made_lists.held_out import exclusions_beside
    from data_prep.made_lists.pair_file import make_pair_list

    if attributes is not None and within is None:
        raise InputError(
            "--attributes", "belongs to --within", got="it alone", fix="Add --within with one of its columns."
        )
    dataset = load_aligned(aligned, field="ALIGNED")
    typer.echo(
        make_pair_list(
            dataset,
            out,
            folds=folds,
            pairs=pairs,
            seed=seed,
            within=within,
            attributes=attributes,
            hold_out=hold_out,
        )
    )
    model: tuple[str, ...] = ()
    if hold_out is not None:
        model = ("--model", f"runs/{out.stem}")
        settings = (f"data.path={aligned}", "--set", f"data.exclude={exclusions_beside(out)}")
        _echo_next("train", "CONFIG", "--run", model[1], "--set", *settings)
    lists = ("--data", aligned, "--protocol", out)
    _echo_next("verify", *model, *lists, "--out", f"results/{out.stem}")


def _echo_next(*words: object) -> None:
    typer.echo(f"next: {printed_command(*words)}")


def data_gallery(
    aligned: AlignedPhotos,
    out: Annotated[
        Path,
        typer.Option(
            "--out", callback=can_be_folder, help="Folder for gallery.csv and probes.csv: new or empty."
        ),
    ],
    strangers: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the people who are not in the gallery, only searched."),
    ] = 0.5,
    enrol: Annotated[
        int, typer.Option(min=1, help="Photos of a person in the gallery; others are probes.")
    ] = 1,
    seed: Seed = 0,
) -> None:
    """Make lists for identification of your own photos: a gallery, probes of its people and of strangers."""
    from data_prep.dataset.packed import load_aligned
    from data_prep.made_lists.gallery_files import make_gallery_lists

    dataset = load_aligned(aligned, field="ALIGNED")
    typer.echo(make_gallery_lists(dataset, out, strangers=strangers, enrol=enrol, seed=seed))
    lists = ("--data", aligned, "--protocol", out)
    _echo_next("rank", *lists, "--out", f"results/{out.name}-1n")
