"""Checks a data set: what it is, whether it is whole, and what in it is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from data_prep.check.aligned import examine_aligned, examine_begun
from data_prep.check.labelled import (
    are_pictures,
    examine_idx,
    examine_pictures,
    examine_protocol,
    examine_templates,
    is_tar,
)
from data_prep.check.look import Look
from data_prep.check.photos import examine_photos
from data_prep.check.report import CheckReport
from data_prep.dataset.manifest import JOURNAL_NAME, MANIFEST_NAME
from data_prep.dataset.packed import holds_parquet
from data_prep.errors import InputError
from data_prep.ijb import find_ijb_files
from data_prep.protocols import FORMATS as PROTOCOL_FORMATS
from data_prep.protocols import protocol_alone
from data_prep.protocols.list_text import LIST_ENDINGS, opening_lines
from data_prep.sources import FORMATS as SOURCE_FORMATS
from data_prep.sources import find_format, folder, ijb, insightface_bin, webdataset
from data_prep.sources.base import SourceFormat
from data_prep.sources.idx import has_idx_files
from data_prep.work.job import WorkStopped

__all__ = ["CheckReport", "Look", "check"]


class _Kind(NamedTuple):
    """A kind of data set that is no source of photos: its name, how to recognise it and how to check it."""

    name: str
    recognises: Callable[[Path], bool]
    examine: Callable[[Path, CheckReport, Look], None]


def _are_lists_alone(path: Path) -> bool:
    return find_ijb_files(path) is not None and not ijb.FORMAT.recognises(path)


def _is_parquet(path: Path) -> bool:
    """Beside folders of photos, a Parquet file is about something else."""
    return holds_parquet(path) and not (path.is_dir() and any(each.is_dir() for each in path.iterdir()))


_OTHERS = (
    _Kind("an aligned data set", lambda path: (path / MANIFEST_NAME).is_file(), examine_aligned),
    _Kind("an alignment begun", lambda path: (path / JOURNAL_NAME).is_file(), examine_begun),
    _Kind("MNIST's idx files", has_idx_files, examine_idx),
    _Kind("IJB's lists without their pictures", _are_lists_alone, examine_templates),
    *(
        _Kind(protocol.description, protocol.recognises, examine_protocol)
        for protocol in PROTOCOL_FORMATS
        if protocol.recognises is not insightface_bin.is_bin  # also a source, which says more
    ),
)

_PARQUET = _Kind("crops in Parquet files", _is_parquet, examine_aligned)
_PICTURES = _Kind("a tar or folder of small pictures in train/ and test/", are_pictures, examine_pictures)


def check(path: Path, look: Look | None = None) -> CheckReport:
    """Check a data set, an aligned one or a list of pairs; nothing is changed.

    Args:
        path: anything that `align`, `verify`, `classify` or `train` reads.
        look: how many pictures are decoded, and where; None: a sample, in this process.

    Raises:
        InputError: nothing is there, nothing of a known kind, or the work was stopped where it ran.
    """
    if not path.exists():
        raise InputError("SOURCE", "must be a data set or a list of pairs", got=path, fix="Check the path.")
    kind = _kind_of(path)
    if kind is None and (opening_lines(path) or path.suffix.lower() in LIST_ENDINGS):
        protocol_alone(path)  # says what is wrong, in the words of `verify`
    if kind is None:
        raise InputError(
            "SOURCE", f"must be one of: {'; '.join(_known_kinds())}", got=path, fix="Check the path."
        )
    report = CheckReport(path, kind.name)
    try:
        kind.examine(path, report, look or Look())
    except WorkStopped:  # says nothing about the data
        raise
    except InputError as error:  # what a reader refuses is what is broken
        report.problems.append(str(error))
    return report


def _kind_of(path: Path) -> _Kind | None:
    """The kind of a path, the most particular first: a folder per identity is what is left."""
    other = next((kind for kind in _OTHERS if kind.recognises(path)), None)
    if other is not None:
        return other
    found = find_format(path)
    if (found is None or found[0] is folder.FORMAT) and _PARQUET.recognises(path):
        return _PARQUET
    if found is None:
        # A compressed tar, or a folder of one, which no reader of photos takes.
        return _PICTURES if is_tar(path) or _PICTURES.recognises(path) else None
    if found[0] in (folder.FORMAT, webdataset.FORMAT) and _PICTURES.recognises(path):
        return _PICTURES
    return _of_photos(*found)


def _of_photos(source: SourceFormat, place: Path) -> _Kind:
    def examine(_path: Path, report: CheckReport, look: Look) -> None:
        examine_photos(source, place, report, look)

    return _Kind(source.description, source.recognises, examine)


def _known_kinds() -> list[str]:
    return [
        *(kind.name for kind in (*_OTHERS, _PARQUET, _PICTURES)),
        *(source.description for source in SOURCE_FORMATS),
    ]
