"""Where photos come from: one file per kind of source, recognised by content; a new one is a line below."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data_prep.errors import InputError
from data_prep.sources import (
    celeba,
    cfp,
    folder,
    ijb,
    insightface_bin,
    named_files,
    recordio,
    rfw,
    webdataset,
)
from data_prep.sources.base import Listing, Skipped, SourceFormat, SourcePhoto
from data_prep.sources.other_forms import way_out
from data_prep.walk import left_by_the_system

__all__ = ["FORMATS", "Listing", "Skipped", "SourcePhoto", "find_format", "list_source"]

# A folder may be any of these, so a folder per identity comes last: it is what is left.
FORMATS: tuple[SourceFormat, ...] = (
    recordio.FORMAT,
    insightface_bin.FORMAT,
    webdataset.FORMAT,
    ijb.FORMAT,
    celeba.FORMAT,
    cfp.FORMAT,
    rfw.FORMAT,
    named_files.AGEDB,
    named_files.LFW_LIKE,
    folder.FORMAT,
)
_DEEPEST = 3


def find_format(source: Path) -> tuple[SourceFormat, Path] | None:
    """The kind of a source, and where it lies: in `source`, or in the only folder in that; None for none."""
    for place in _nested(source):
        for known in FORMATS:
            if known is not folder.FORMAT and known.recognises(place):
                return known, place
    return (folder.FORMAT, source) if folder.FORMAT.recognises(source) else None


def list_source(source: Path) -> Listing[SourcePhoto]:
    """Every photo of a source of any known kind, and what was skipped.

    Raises:
        InputError: nothing is there, it is of no known kind, or it is broken as a whole.
    """
    found = find_format(source)
    if found is None:
        raise InputError(
            "SOURCE",
            f"must be a folder or file of photos: {'; '.join(known.description for known in FORMATS)}",
            got=source,
            fix=way_out([source.name]),
        )
    known, place = found
    return known.list_photos(place)


def _nested(source: Path) -> Iterator[Path]:
    """The source, and the folder in it while that is the only one: archives often unpack into one more."""
    for _ in range(_DEEPEST):
        yield source
        if not source.is_dir():
            return
        entries = (path for path in source.iterdir() if not left_by_the_system(path.name))
        folders = [path for path in entries if path.is_dir()]
        if len(folders) != 1:
            return
        [source] = folders
