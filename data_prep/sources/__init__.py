"""Where photos come from: one kind of source a file, told apart by content; a new one is a line below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_prep.errors import InputError
from data_prep.sources import celeba, cfp, folder, insightface_bin, recordio, webdataset
from data_prep.sources.base import SourceFormat, SourcePhoto

__all__ = ["FORMATS", "SourcePhoto", "list_source"]

# A folder may be any of these, so a folder per identity comes last: it is what is left.
FORMATS: tuple[SourceFormat, ...] = (
    recordio.FORMAT,
    insightface_bin.FORMAT,
    webdataset.FORMAT,
    celeba.FORMAT,
    cfp.FORMAT,
    folder.FORMAT,
)


def list_source(source: Path) -> Sequence[SourcePhoto]:
    """Every photo of a source of any known kind, sorted by key.

    Raises:
        InputError: nothing is there, it is of no known kind, or it is broken as a whole.
    """
    for known in FORMATS:
        if known.recognises(source):
            return known.list_photos(source)
    raise InputError(
        "SRC",
        f"must be a folder or file of photos: {'; '.join(known.description for known in FORMATS)}",
        got=source,
        fix="Check the path.",
    )
