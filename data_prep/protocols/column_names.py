"""What columns are called in tables that others made: of photos, and of people; by `spelling.letters`."""

from __future__ import annotations

from collections.abc import Sequence

from data_prep.protocols.spelling import letters

_PICTURES = ("photo", "image", "img", "picture", "pic")
# Words that make up the name of a column with one of a pair's photos.
PHOTO_WORDS = (*_PICTURES, "im", "face", "file", "path", "name", "id", "p")
# Of several columns the one that stands first here counts.
PHOTO_COLUMNS = (
    *(f"{picture}{what}" for what in ("", "path", "file", "filename", "name", "id") for picture in _PICTURES),
    *("path", "filepath", "file", "filename"),
)
# VGGFace2's Class_ID names the folder of a person, whose Name stands beside it.
PEOPLE_COLUMNS = (
    *("identity", "identityid", "person", "personid", "people", "subject", "subjectid", "celebrity"),
    "classid",
)


def place_of(known: Sequence[str], header: Sequence[str]) -> int | None:
    """Where a header has the first of some names that it has at all; None without one.

    Args:
        known: in the order in which they are preferred.
        header: as it is written.
    """
    names = [letters(name) for name in header]
    return next((names.index(name) for name in known if name in names), None)
