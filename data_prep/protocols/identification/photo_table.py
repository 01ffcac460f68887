"""Lists of photos with the person on each, such as gallery.csv and probes.csv.

Fields are separated by tabs, semicolons, commas or spaces. A first line that names the columns decides which
is the photo and which the identity; without one, a line is a photo and an identity. An identity may be empty
or say `NA`: a gallery's distractor, or a probe of a stranger. A list of probes may have the column `mated`,
which must then agree with the gallery.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_prep.errors import InputError
from data_prep.file_hash import joint_hash
from data_prep.inside import refuse_name_outside
from data_prep.protocols.column_names import PEOPLE_COLUMNS, PHOTO_COLUMNS, place_of
from data_prep.protocols.identification.base import IdentificationFormat, IdentificationProtocol, PhotoList
from data_prep.protocols.identification.identities import read_identities, refuse_two_spellings
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
from data_prep.protocols.spelling import composed, letters

GALLERY_NAME, PROBES_NAME = "gallery.csv", "probes.csv"

_AS_CSV = (
    "Write a photo and its person per line, under a first line that names the columns: `photo,identity`. "
    "Leave the identity empty where nobody is named."
)
# A person may be called by any of these in a list of photos. An `id` may as well be the number of a line.
_IDENTITY = (*PEOPLE_COLUMNS, "label", "class", "name", "id")
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
        also = [name for name in rest if letters(name) in _IDENTITY]
        chosen = f"; {self.header[self.identity]} names the people, not {', '.join(also)}" if also else ""
        return f"columns {', '.join(self.header[place] for place in places)}{ignored}{chosen}"


class _Table(NamedTuple):
    """A list as it was read; `mated` is what its column says, (photos,), None without one.

    `is_made` says whether it is as faceverif made it, so that the names are those of a data set.
    """

    photos: PhotoList
    mated: list[bool] | None
    lines: list[int]
    reading: str
    is_made: bool


def load_lists(gallery: Path, probes: Path) -> IdentificationProtocol:
    """Read two lists of photos.

    Args:
        gallery: who is enrolled.
        probes: what is searched.

    Raises:
        InputError: no such file, no such list, a line that breaks it, a photo that stands twice, a person
            who is spelled in two ways, or a probe that the list calls mated and the gallery does not hold.
    """
    enrolled, searched = _read(gallery, "--gallery"), _read(probes, "--probes")
    if not (enrolled.is_made and searched.is_made):
        refuse_two_spellings(enrolled.photos, searched.photos)
    _refuse_contradiction(enrolled.photos, searched)
    return IdentificationProtocol(
        _name(gallery, probes),
        enrolled.photos,
        searched.photos,
        joint_hash(gallery, probes),
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
    identities, note = tuple(_field(row, columns.identity) for row in rows), ListNote.above(path)
    sha256 = photos_sha256(zip(names, identities, strict=True))
    is_made = note is not None and note.sha256 == sha256
    if note is not None:
        notes.append(note.reading(sha256))
    if not is_made:
        identities, said = read_identities(path, rows, identities)
        notes.append(said)
    reading = [f"{path.name} separated by {separator.name}", columns.text, *notes]
    return _Table(
        PhotoList(tuple(names), identities, str(path)),
        _mated(path, rows, columns),
        [row.line for row in rows],
        "; ".join(filter(None, reading)),
        is_made=is_made,
    )


def _layout(path: Path) -> tuple[Separator, _Columns] | None:
    """What separates the fields, and which is which; None for another kind of list."""
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
    photo, identity = place_of(PHOTO_COLUMNS, header), place_of(_IDENTITY, header)
    if photo is None or identity is None:
        return None
    return _Columns(photo, identity, place_of(_MATED, header), tuple(header))


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
    enrolled = {composed(name) for name in gallery.identities} - {""}
    said = zip(probes.photos.photos, probes.photos.identities, probes.mated or (), probes.lines, strict=False)
    for photo, identity, mated, line in said:
        if mated != (composed(identity) in enrolled):
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
