"""Results stay out of folders that hold photos: the next alignment would take their pictures for photos."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from data_prep.errors import InputError
from data_prep.own_names import LOCK_NAME, SYNTHETIC_MARK

_FIGURES_NAME = "figures"  # of a report: pictures, but no photos
_NAMES_READ = 1000  # of a folder; photos show in the first few
_FOLDERS_READ = 50


def refuse_photos(folder: Path, *, option: str = "--out") -> None:
    """Stop before results are written beside photos or crops.

    A folder that a command of ours filled with results before is taken again.

    Args:
        folder: of the results; it need not be there yet.
        option: what the user named it with, for the message.

    Raises:
        InputError: it is an aligned data set, synthetic photos, or photos lie in it or in a folder of it.
    """
    if not folder.is_dir():
        return
    # Brings pyarrow, which a new folder does not need.
    from data_prep.dataset.manifest import JOURNAL_NAME, MANIFEST_NAME

    # What these commands fill has a lock, too.
    filled = {
        MANIFEST_NAME: "an aligned data set",
        JOURNAL_NAME: "an alignment that was begun",
        SYNTHETIC_MARK: "photos made by `faceverif synthesise`",
    }
    for name, what in filled.items():
        if (folder / name).is_file():
            raise _refused(folder, what, option=option)
    if (folder / LOCK_NAME).exists():
        return
    from data_prep.picture_formats import is_picture_name  # brings PIL

    for place in (folder, *islice(_folders(folder), _FOLDERS_READ)):
        for entry in islice(_entries(place), _NAMES_READ):
            if is_picture_name(entry.name):
                raise _refused(folder, f"a folder of photos, such as {entry.path}", option=option)


def _folders(folder: Path) -> Iterator[Path]:
    return (Path(entry.path) for entry in _entries(folder) if entry.is_dir() and entry.name != _FIGURES_NAME)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:  # the command that writes there reports it
        return


def _refused(folder: Path, what: str, *, option: str) -> InputError:
    return InputError(
        option,
        "must not be a folder of photos or crops, which results would mix with",
        got=f"{folder}, {what}",
        fix="Name a new folder, such as runs/first.",
    )
