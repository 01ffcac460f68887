"""Photos that the system refused in an earlier run: they are done again once it no longer does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from data_prep.photos import UNREADABLE, PhotoError
from data_prep.prepare.crop_names import ENDINGS, crop_name
from data_prep.prepare.journal import Journal
from data_prep.sources import SourcePhoto


def forget_mended(journal: Journal, photos: Iterable[SourcePhoto], out: Path) -> None:
    """Count photos as not done that could not be read, or whose crop could not be written, and now can.

    A link without a target, missing rights and a network disk that did not answer are such causes. A photo
    that is still refused keeps its row, so that it does not cost the alignment of its neighbours.

    Args:
        journal: forgets them.
        photos: of the source.
        out: the data set's folder.
    """
    if not journal.refused_by_system:
        return
    for photo in photos:
        reason = journal.refused_by_system.get(photo.key)
        if reason is not None and (_is_read(photo) if reason == UNREADABLE else _takes_crop(out, photo.key)):
            journal.forget(photo.key)


def _is_read(photo: SourcePhoto) -> bool:
    try:
        photo.read()
    except PhotoError as error:
        return error.reason != UNREADABLE
    return True


def _takes_crop(out: Path, key: str) -> bool:
    """Whether a crop of that photo can be written, in each format that crops have."""
    return all(_takes(out / crop_name(key, ending=ending)) for ending in ENDINGS)


def _takes(place: Path) -> bool:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        is_new = not place.exists()
        place.open("ab").close()
        if is_new:
            place.unlink()
    except OSError:
        return False
    return True
