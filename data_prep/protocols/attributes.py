"""What a file says of photos or of people: CelebA's list of attributes, LFW's, or any table with a header.

A table has a header, a column with photos or identities, and attributes in all others. CelebA's
`list_attr_celeba.txt` opens with the number of its photos and the names of its attributes. LFW's
`lfw_attributes.txt` (Kumar et al. 2009) names a person and a number, which make a photo.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from data_prep.counted import counted, repeated
from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError, few, first_line
from data_prep.picture_formats import is_picture_name
from data_prep.protocols.column_names import PEOPLE_COLUMNS, PHOTO_COLUMNS, place_of
from data_prep.protocols.list_text import SEPARATORS
from data_prep.protocols.matching import names_of
from data_prep.protocols.photo_names import tidied
from data_prep.protocols.spelling import composed
from data_prep.text_encoding import read_text

PHOTO, IDENTITY = "photo", "identity"
OPTION = "--attributes"
_RULE = (
    "must be a table in UTF-8: a header, a column photo or identity, and further columns; CelebA's "
    "list_attr_celeba.txt and LFW's lfw_attributes.txt are read too"
)
_EITHER = ("name", "key", "id")  # of a photo where the values are names of pictures
_NOTHING = {"", "nan", "na", "n/a", "null", "none"}
_LARGEST_FILE = 2**30
_LONGEST_HEADER = 2**16  # characters; csv takes twice as many in a field


class _Line(NamedTuple):
    number: int
    fields: list[str]


@dataclass(frozen=True)
class Attributes:
    """What a file says of photos or people.

    Attributes:
        path: the file.
        keyed_by: photo or identity.
        keys: (lines,) each once.
        lines: (lines,) fields of each.
        columns: name -> position among the fields.
    """

    path: Path
    keyed_by: str
    keys: tuple[str, ...]
    lines: tuple[list[str], ...]
    columns: dict[str, int]

    @classmethod
    def read(cls, path: Path) -> Attributes:
        """Read a file.

        Raises:
            InputError: no such file, no table of this kind, a line with more or fewer fields than the
                header, or a photo or identity twice.
        """
        header, lines = _table(path)
        for line in lines:
            if len(line.fields) != len(header):
                raise InputError(
                    f"{path}, line {line.number}",
                    f"must have {len(header)} fields, as the header has",
                    got=f"{len(line.fields)}: {' '.join(line.fields)[:80]!r}",
                    fix="Get a complete copy of the file, or fix the line.",
                )
        keyed_by, keys, used = _keys(path, header, lines)
        _refuse_twice(path, keyed_by, keys, lines)
        columns = [(name, place) for place, name in enumerate(header) if name and place not in used]
        _refuse_columns_twice(path, [name for name, _ in columns])
        if not columns:
            raise _unfit(path, f"the columns {', '.join(header)} alone")
        return cls(path, keyed_by, tuple(keys), tuple(line.fields for line in lines), dict(columns))

    def of(self, dataset: AlignedDataset, column: str) -> list[str | None]:
        """(rows,) what the file says of each photo of a data set; None where it says nothing.

        Raises:
            InputError: it names no photo or identity of the data set, or fits a photo twice.
        """
        values: list[str | None] = [None] * len(dataset)
        for row, line in self._line_of(dataset).items():
            values[row] = known(self.lines[line][self.columns[column]])
        return values

    def _line_of(self, dataset: AlignedDataset) -> dict[int, int]:
        """Row -> line."""
        by_photo = self.keyed_by == PHOTO
        found = self._by_photo(dataset) if by_photo else self._by_identity(dataset)
        if not found:
            there = dataset.photos([0]) if by_photo else dataset.column("identity")[:1].tolist()
            raise InputError(
                OPTION,
                f"must say something of the {self.keyed_by} of the data set, such as {there[0]}",
                got=f"{counted(len(self.keys), 'other')}, such as {self.keys[0]} ({self.path})",
                fix=f"Take the file of these data, or write its {self.keyed_by} as the manifest does.",
            )
        return found

    def _by_photo(self, dataset: AlignedDataset) -> dict[int, int]:
        try:
            rows = names_of(dataset).rows_of(self.keys)
        except InputError as error:
            raise InputError(str(self.path), error.rule, got=error.got, fix=error.fix) from error
        found: dict[int, int] = {}
        for line, key in enumerate(self.keys):
            row = rows[key]
            if row is not None and found.setdefault(row, line) != line:
                raise self._named_twice(found[row], line)
        return found

    def _by_identity(self, dataset: AlignedDataset) -> dict[int, int]:
        whole: defaultdict[str, list[int]] = defaultdict(list)
        joined: defaultdict[str, list[int]] = defaultdict(list)
        for line, key in enumerate(map(composed, self.keys)):
            whole[key].append(line)
            joined[key.replace(" ", "_")].append(line)  # as LFW's folders
        lines_of = joined | whole
        found: dict[int, int] = {}
        for row, person in enumerate(dataset.column("identity").tolist()):
            lines = [] if person is None else lines_of.get(composed(person), [])
            if len(lines) > 1:
                raise self._named_twice(*lines[:2])
            if lines:
                found[row] = lines[0]
        return found

    def _named_twice(self, one: int, other: int) -> InputError:
        return InputError(
            str(self.path),
            f"must name each {self.keyed_by} once",
            got=f"{self.keys[one]} and {self.keys[other]}, which are one",
            fix="Remove one of the two lines.",
        )


def known(text: str) -> str | None:
    """A text of a table; None where it says nothing, as `NA`."""
    return None if text.lower() in _NOTHING else text


def _refuse_twice(path: Path, keyed_by: str, keys: Sequence[str], lines: Sequence[_Line]) -> None:
    first: dict[str, int] = {}
    for key, line in zip(keys, lines, strict=True):
        if first.setdefault(key, line.number) != line.number:
            raise InputError(
                f"{path}, line {line.number}",
                f"must name each {keyed_by} once",
                got=f"{key}, as in line {first[key]}",
                fix="Remove one of the two lines.",
            )


def _refuse_columns_twice(path: Path, names: Sequence[str]) -> None:
    if twice := repeated(names):
        raise InputError(
            str(path), "must name each column once", got=f"{twice[0]} twice", fix="Rename one of the two."
        )


def _keys(path: Path, header: Sequence[str], lines: Sequence[_Line]) -> tuple[str, list[str], set[int]]:
    """What the file is about, the keys, and the columns that they were made of."""
    person, number = place_of(("person",), header), place_of(("imagenum",), header)
    if person is not None and number is not None:  # LFW's
        names = [(line.fields[person].replace(" ", "_"), line.fields[number]) for line in lines]
        return PHOTO, [f"{name}/{name}_{index:0>4}" for name, index in names], {person, number}
    place = place_of(PHOTO_COLUMNS, header)
    if place is not None:
        return PHOTO, tidied([line.fields[place] for line in lines])[0], {place}
    place = place_of(PEOPLE_COLUMNS, header)
    if place is not None:
        return IDENTITY, [line.fields[place] for line in lines], {place}
    place = place_of(_EITHER, header)
    if place is None:
        raise _unfit(path, f"the columns {few(header)}")
    keys = [line.fields[place] for line in lines]
    return (PHOTO, tidied(keys)[0], {place}) if is_picture_name(keys[0]) else (IDENTITY, keys, {place})


def _table(path: Path) -> tuple[list[str], list[_Line]]:
    """Header and lines of a file of any of the three forms."""
    texts = _texts(path)
    if len(texts) > 2 and texts[0].strip().isdecimal():  # CelebA's
        lines = [_Line(place + 3, text.split()) for place, text in _filled(texts[2:])]
        if len(lines) != int(texts[0]):
            raise _unfit(
                path, f"{counted(len(lines), 'photo')}, although its first line says {texts[0].strip()},"
            )
        return ["photo", *texts[1].split()], lines
    notes = sum(1 for _ in takewhile(lambda text: not text.strip() or text.startswith("#"), texts))
    begin = notes + 1
    found = _header(texts[notes:begin])
    if found is None:  # LFW's header is the last of its notes
        begin = notes
        found = _header([text[1:].lstrip() for text in texts[:notes][-1:] if "\t" in text])
    if found is None:
        raise _unfit(path, f"first line {texts[0][:80]!r}")
    header, sign = found
    lines = list(_split(path, texts[begin:], sign, first=begin + 1))
    if not lines:
        raise _unfit(path, "its header alone")
    return header, lines


def _header(texts: Sequence[str]) -> tuple[list[str], str] | None:
    """The names in a line, and what separates them; None without a line, or where none is that of a key."""
    for text in texts:
        for separator in SEPARATORS:
            reader = csv.reader([text[:_LONGEST_HEADER].strip(" ")], delimiter=separator.sign)
            header = [name.strip() for name in next(reader, []) if name or separator.sign != " "]
            if len(header) > 1 and _is_key(header):
                return header, separator.sign
    return None


def _is_key(header: Sequence[str]) -> bool:
    return place_of((*PHOTO_COLUMNS, *PEOPLE_COLUMNS, *_EITHER), header) is not None


def _filled(texts: Sequence[str]) -> Iterator[tuple[int, str]]:
    return ((place, text) for place, text in enumerate(texts) if text.strip())


def _split(path: Path, texts: Sequence[str], sign: str, *, first: int) -> Iterator[_Line]:
    try:
        for place, text in _filled(texts):
            [fields] = csv.reader([text], delimiter=sign, skipinitialspace=True, strict=True)
            yield _Line(first + place, [field.strip() for field in fields])
    except csv.Error as error:
        raise _unfit(path, f"line {first + place}: {first_line(error)}") from error


def _texts(path: Path) -> list[str]:
    if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
        raise _unfit(path, "a file over 1 GiB" if path.is_file() else "no file")
    try:
        texts = read_text(path).rstrip().split("\n")
    except UnicodeDecodeError as error:
        raise _unfit(path, f"other bytes from number {error.start + 1:,} on") from error
    if "\0" in texts[0]:
        raise _unfit(path, "a zero byte, as in UTF-16,")
    if not texts[0]:
        raise _unfit(path, "an empty file" if len(texts) == 1 else "an empty first line")
    return [text.rstrip("\r") for text in texts]


def _unfit(path: Path, got: str) -> InputError:
    return InputError(
        OPTION, _RULE, got=f"{got} in {path}", fix="Write it as a CSV that opens with photo,age,sex or so."
    )
