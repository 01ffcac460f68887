"""A gallery and its probes as gallery.csv and probes.csv in a folder."""

from __future__ import annotations

import csv
from pathlib import Path

from data_prep.atomic import folder_whole, refuse_busy
from data_prep.counted import counted
from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError, printable_lines
from data_prep.made_lists.gallery import MadeGallery, draw_gallery
from data_prep.made_lists.people import People
from data_prep.made_lists.reading_back import refuse_other_names, unlistable
from data_prep.protocols.identification import load_identification
from data_prep.protocols.identification.photo_table import GALLERY_NAME, PROBES_NAME
from data_prep.protocols.list_note import ListNote

_COMMAND = "faceverif data gallery"


def make_gallery_lists(dataset: AlignedDataset, out: Path, *, strangers: float, enrol: int, seed: int) -> str:
    """Draw a gallery and probes of a data set and write their lists, both or none.

    Args:
        dataset: the photos.
        out: the folder, new or empty.
        strangers, enrol, seed: as for `draw_gallery`.

    Returns:
        What was made, in a few lines.

    Raises:
        InputError: too few people or photos, a name that no list can hold, or the folder holds something.
    """
    if out.is_dir() and any(out.iterdir()):
        raise InputError("--out", "must be a new or empty folder", got=out, fix="Name another one.")
    refuse_busy(out, command=_COMMAND)
    people = People.of(dataset)
    made = draw_gallery(people, strangers=strangers, enrol=enrol, seed=seed)
    how = (
        f"{counted(made.people, 'person')} in the gallery, {counted(made.strangers, 'stranger')} (asked for: "
        f"{strangers:g}); up to {counted(enrol, 'photo')} enrolled of each; seed {seed}; of {people.stated()}"
    )
    with folder_whole(out) as unfinished:
        for name, photos in ((GALLERY_NAME, made.gallery), (PROBES_NAME, made.probes)):
            _write(unfinished / name, photos, how=how)
        _refuse_other_reading(made, unfinished)
    return _text(people, made, out)


def _write(path: Path, photos: list[tuple[str, str]], *, how: str) -> None:
    note = ListNote.of_photos(photos, holds=counted(len(photos), "photo"), how=how)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(note.line() + "\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["photo", "identity"])
        writer.writerows(photos)


def _refuse_other_reading(made: MadeGallery, folder: Path) -> None:
    try:
        read = load_identification(folder)
    except InputError as error:
        raise unlistable(str(error.got)) from error
    for drawn, found in ((made.gallery, read.gallery), (made.probes, read.probes)):
        refuse_other_names([photo for photo, _ in drawn], found.photos)
        refuse_other_names([identity for _, identity in drawn], found.identities)


def _text(people: People, made: MadeGallery, out: Path) -> str:
    """What was made, for a terminal."""
    unmated = len(made.probes) - made.mated
    return printable_lines(
        [
            f"{out}: a gallery of {counted(len(made.gallery), 'photo')} of {counted(made.people, 'person')}; "
            f"{counted(len(made.probes), 'probe')}, {made.mated:,} of these people and {unmated:,} of "
            f"{counted(made.strangers, 'stranger')}",
            f"of {people.text()}",
            *people.left_out_text(),
        ]
    )
