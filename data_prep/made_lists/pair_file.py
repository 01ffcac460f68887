"""Pairs of an aligned set as a CSV that `verify --protocol` reads, and who must not be trained on for it."""

from __future__ import annotations

import csv
from pathlib import Path

from data_prep.atomic import refuse_busy, written_whole
from data_prep.counted import counted
from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError, printable_lines
from data_prep.made_lists.held_out import HeldOut, exclusions_beside
from data_prep.made_lists.pairs import MadePairs, draw_pairs
from data_prep.made_lists.people import People
from data_prep.made_lists.reading_back import refuse_other_names, unlistable
from data_prep.made_lists.within import groups_of
from data_prep.protocols import protocol_alone
from data_prep.protocols.list_note import ListNote

_COMMAND = "faceverif data pairs"


def make_pair_list(
    dataset: AlignedDataset,
    out: Path,
    *,
    folds: int,
    pairs: int | None,
    seed: int,
    within: str | None = None,
    attributes: Path | None = None,
    hold_out: float | None = None,
) -> str:
    """Draw pairs of a data set and write their list, whole or not at all.

    Args:
        dataset: the photos.
        out: the file.
        folds, pairs, seed: as for `draw_pairs`.
        within: the column of the groups within which impostor pairs are drawn; it stands in the list too.
        attributes: a file that may have this column.
        hold_out: share of the people whom the pairs show; a list for `data.exclude` names them. None: the
            pairs show everybody, and there is no such list.

    Returns:
        What was made, in a few lines.

    Raises:
        InputError: too few people or photos, no such column, a name that no list can hold, or the file is
            being written.
    """
    refuse_busy(out, command=_COMMAND)
    everybody = People.of(dataset)
    held = None if hold_out is None else HeldOut.draw(everybody, dataset, share=hold_out, seed=seed)
    people = everybody if held is None else held.people
    groups = groups_of(people, dataset, within, attributes) if within is not None else None
    try:
        made = draw_pairs(people, folds=folds, pairs=pairs, seed=seed, groups=groups)
    except InputError as error:
        raise error if held is None else _of_held_out(error) from error
    alike = f"impostor pairs within one {within}; " if within is not None else ""
    apart = "" if held is None else f", held out of {everybody.text()}"
    how = f"no person in two folds; {alike}seed {seed}; of {people.stated()}{apart}"
    note = ListNote.of_pairs(made.left, made.right, made.same, made.fold, how=how)
    with written_whole(out) as unfinished:
        _write(made, note, unfinished, within=within)
        _refuse_other_reading(made, unfinished)
        if held is not None:
            held.write(exclusions_beside(out))
    return _text(people, made, out, held)


def _of_held_out(error: InputError) -> InputError:
    """The error of too few people or photos, where more people may be held out."""
    fix = f"{error.fix} A larger --hold-out gives more of both."
    return InputError(error.field, error.rule, got=error.got, fix=fix)


def _write(made: MadePairs, note: ListNote, path: Path, *, within: str | None) -> None:
    columns = {
        "left": made.left,
        "right": made.right,
        "same": made.same.astype(int).tolist(),
        "fold": made.fold.tolist(),
    }
    if within in columns:
        raise InputError(
            "--within",
            f"must not be {', '.join(columns)}, as the list's own columns",
            got=within,
            fix="Rename it.",
        )
    if within is not None:
        columns[within] = made.group
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(note.line() + "\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _refuse_other_reading(made: MadePairs, path: Path) -> None:
    try:
        read = protocol_alone(path)
    except InputError as error:
        raise unlistable(str(error.got)) from error
    refuse_other_names([*made.left, *made.right], [*read.left, *read.right])


def _text(people: People, made: MadePairs, out: Path, held: HeldOut | None) -> str:
    """What was made, for a terminal."""
    each = len(made.left) // (2 * made.folds)
    used = len({*made.left, *made.right})
    return printable_lines(
        [
            f"{out}: {len(made.left):,} pairs in {made.folds} folds that share no person, each with {each:,} "
            f"genuine and {counted(each, 'impostor pair')}",
            f"of {people.text()}; {counted(used, 'photo')} in pairs",
            *([held.text(exclusions_beside(out))] if held is not None else []),
            *people.left_out_text(),
        ]
    )
