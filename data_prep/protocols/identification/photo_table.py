"""Lists of photos with the person on each, such as gallery.csv and probes.csv.

Fields are separated by tabs, semicolons, commas or spaces. A first line that names the columns decides which
is the photo and which the identity; without one, a line is a photo and an identity. An identity may be empty:
a gallery's distractor, or a probe of a stranger. A list of probes may have the column `mated`, which must
then agree with the gallery.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_prep.errors import InputError
from data_prep.inside import refuse_name_outside
from data_prep.protocols.identification.base import (
    IdentificationFormat,
    IdentificationProtocol,
    PhotoList,
    sha256_of,
)
from data_prep.protocols.labels import words_of
from data_prep.protocols.list_note import ListNote, photos_sha256
from data_prep.protocols.list_text import (
    SEPARATORS,
    ListKind,
    Row,
    Separator,
    opening_lines,
    opening_rows,
    read_lines,
    split_rows,
)
from data_prep.protocols.photo_names import tidied

GALLERY_NAME, PROBES_NAME = "gallery.csv", "probes.csv"

_AS_CSV = (
    "Write a photo and its person per line, under a first line that names the columns: `photo,identity`. "
    "Leave the identity empty where nobody is named."
)
_PHOTO = (
    "photo",
    "image",
    "img",
    "picture",
    "path",
    "file",
    "filename",
    "filepath",
    "imagepath",
    "photopath",
)
_IDENTITY = (
    "identity",
    "person",
    "subject",
    "subjectid",
    "identityid",
    "personid",
    "id",
    "label",
    "class",
    "name",
)
_MATED = ("mated", "ismated", "enrolled", "isenrolled", "ingallery")


class _Columns(NamedTuple):
    """Positions, from 0; `header` has the names where there are some."""

    photo: int
    identity: int
    mated: int | None
    header: tuple[str, ...] | None

    @property
    def text(self) -> str:
        if self.header is None:
            return "no header: photo, identity"
        places = [place for place in (self.photo, self.identity, self.mated) if place is not None]
        rest = [name or repr(name) for place, name in enumerate(self.header) if place not in places]
        ignored = f", without {', '.join(rest)}" if rest else ""
        return f"columns {', '.join(self.header[place] for place in places)}{ignored}"


class _Table(NamedTuple):
    """A list as it was read; `mated` is what its column says, (photos,), null without one."""

    photos: PhotoList
    mated: list[bool] | None
    lines: list[int]
    reading: str


def load_lists(gallery: Path, probes: Path) -> IdentificationProtocol:
    """Read two lists of photos.

    Args:
        gallery: who is enrolled.
        probes: what is searched.

    Raises:
        InputError: no such file, no such list, a line that breaks it, a photo that stands twice, or a probe
            that the list calls mated and the gallery does not hold.
    """
    enrolled, searched = _read(gallery, "--gallery"), _read(probes, "--probes")
    _refuse_contradiction(enrolled.photos, searched)
    return IdentificationProtocol(
        _name(gallery, probes),
        enrolled.photos,
        searched.photos,
        sha256_of(gallery, probes),
        f"gallery: {enrolled.reading}; probes: {searched.reading}",
    )


def _read(path: Path, option: str) -> _Table:
    kind = ListKind(option, "a list of photos and their people", "photos", _AS_CSV)
    lines = read_lines(path, kind)
    found = _layout(path)
    if found is None:
        opening = opening_lines(path)
        got = f"first line {opening[0][:80]!r}" if opening else "no text"
        raise InputError(str(path), f"must be {kind.name}", got=got, fix=_AS_CSV)
    separator, columns = found
    rows = list(split_rows(lines, separator, field=str(path)))[0 if columns.header is None else 1 :]
    for row in rows:
        _refuse_broken(path, row, columns)
    names, notes = tidied([row.fields[columns.photo] for row in rows])
    for name, row in zip(names, rows, strict=True):
        refuse_name_outside(name, field=f"{path}, line {row.line}")
    identities = tuple(_field(row, columns.identity) for row in rows)
    reading = "; ".join([f"{path.name} separated by {separator.name}", columns.text, *notes])
    note = ListNote.above(path)
    if note is not None:
        reading = f"{reading}; {note.reading(photos_sha256(zip(names, identities, strict=True)))}"
    mated = _mated(path, rows, columns)
    return _Table(PhotoList(tuple(names), identities, str(path)), mated, [row.line for row in rows], reading)


def _layout(path: Path) -> tuple[Separator, _Columns] | None:
    """What separates the fields, and which is which; null for another kind of list."""
    lines = opening_lines(path)
    for separator in SEPARATORS:
        rows = opening_rows(lines, separator)
        columns = _columns_in(rows[0].fields) if rows else None
        if columns is not None:
            return separator, columns
    for separator in SEPARATORS:
        rows = opening_rows(lines, separator)
        if rows and all(len(row.fields) == 2 for row in rows) and _is_photo(rows[0].fields[0]):
            return separator, _Columns(0, 1, None, None)
    return None


def _columns_in(header: Sequence[str]) -> _Columns | None:
    names = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in header]

    def place(known: Sequence[str]) -> int | None:
        return next((names.index(name) for name in known if name in names), None)

    photo, identity = place(_PHOTO), place(_IDENTITY)
    if photo is None or identity is None:
        return None
    return _Columns(photo, identity, place(_MATED), tuple(header))


def _is_photo(field: str) -> bool:
    return "/" in field or "\\" in field or "." in field


def _refuse_broken(path: Path, row: Row, columns: _Columns) -> None:
    most = 2 if columns.header is None else len(columns.header)
    if len(row.fields) > most or not _field(row, columns.photo):
        raise InputError(
            f"{path}, line {row.line}",
            "must be a photo and its person" if columns.header is None else "must have the header's columns",
            got=repr(",".join(row.fields)[:160]),
            fix="Fix the line; a name with the separator in it is written in quotes.",
        )


def _field(row: Row, place: int) -> str:
    return row.fields[place] if place < len(row.fields) else ""


def _mated(path: Path, rows: Sequence[Row], columns: _Columns) -> list[bool] | None:
    if columns.mated is None or not rows:
        return None
    labels = [_field(row, columns.mated) for row in rows]
    words, other = words_of(labels)
    if other is not None:
        raise InputError(
            f"{path}, line {rows[other].line}",
            f"the column `mated` must be {words[0]} or {words[1]}",
            got=repr(labels[other]),
            fix="Fix the line, or leave the column out: the gallery says who is mated.",
        )
    return [label.lower() == words[0] for label in labels]


def _refuse_contradiction(gallery: PhotoList, probes: _Table) -> None:
    """Where the list of probes says who is mated, the gallery must say the same."""
    enrolled = set(gallery.identities) - {""}
    said = zip(probes.photos.photos, probes.photos.identities, probes.mated or (), probes.lines, strict=False)
    for photo, identity, mated, line in said:
        if mated != (identity in enrolled):
            raise InputError(
                f"{probes.photos.field}, line {line}",
                "a probe that is called mated must show a person of the gallery, and no other probe may",
                got=f"{photo} of {identity or 'nobody'}, {'mated' if mated else 'not mated'}",
                fix=f"Add a photo of {identity or 'the person'} to {gallery.field}, or correct the line."
                if mated
                else "Correct the line.",
            )


def _name(gallery: Path, probes: Path) -> str:
    if (gallery.name, probes.name, gallery.parent) == (GALLERY_NAME, PROBES_NAME, probes.parent):
        return gallery.resolve().parent.name
    return f"{probes.stem} in {gallery.stem}"


def _recognises(folder: Path) -> bool:
    return (folder / GALLERY_NAME).is_file() and (folder / PROBES_NAME).is_file()


FORMAT = IdentificationFormat(
    f"a folder with {GALLERY_NAME} and {PROBES_NAME}",
    _recognises,
    lambda folder: load_lists(folder / GALLERY_NAME, folder / PROBES_NAME),
)
