"""Which column of a list is which: by the names in its header, or by what stands in its lines."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from data_prep.errors import InputError
from data_prep.protocols.column_names import PHOTO_WORDS
from data_prep.protocols.labels import are_labels
from data_prep.protocols.spelling import letters

_PLAIN = 3  # fields of a line without header: two photos and a label
_SIDES = (
    *(("left", "right"), ("1", "2"), ("a", "b"), ("first", "second"), ("0", "1"), ("l", "r")),
    *(("reference", "probe"), ("ref", "probe"), ("anchor", "other")),
)
_PHOTO = f"(?:{'|'.join(PHOTO_WORDS)})"
_LABELS = {
    *("same", "issame", "sameperson", "issameperson", "sameidentity", "issameidentity", "actualissame"),
    *("decision", "matched", "pairlabel", "pairtype", "issamepair"),
    *("label", "labels", "match", "ismatch", "genuine", "isgenuine", "target", "groundtruth", "gt", "y"),
}
_FOLDS = {"fold", "folds", "foldid", "foldidx", "foldindex", "foldnumber", "foldno"}


class Columns(NamedTuple):
    """The places of the columns that count.

    Attributes:
        left, right, same: positions, from 0.
        fold: likewise; None where the list gives no folds.
        names: of the header; None where there is none.
    """

    left: int
    right: int
    same: int
    fold: int | None = None
    names: tuple[str, ...] | None = None

    @property
    def fold_name(self) -> str:
        """The name of the fold column; empty where there is none."""
        return "" if self.fold is None or self.names is None else self.names[self.fold]

    @property
    def text(self) -> str:
        """The decision, for people."""
        if self.names is None:
            return f"no header: the label is the {'last' if self.same else 'first'} of three fields"
        used = [place for place in (self.left, self.right, self.same, self.fold) if place is not None]
        rest = [name or repr(name) for i, name in enumerate(self.names) if i not in used]
        ignored = f", without {', '.join(rest)}" if rest else ""
        return f"columns {', '.join(self.names[place] for place in used)}{ignored}"

    @property
    def further(self) -> dict[str, int]:
        """The other columns that have a name: name -> position; of two with one name the first."""
        used = {self.left, self.right, self.same, self.fold}
        found: dict[str, int] = {}
        for place, name in enumerate(self.names or ()):
            if name and place not in used:
                found.setdefault(name, place)
        return found

    def fit(self, fields: Sequence[str]) -> bool:
        """Whether a line has these columns, none of them empty, and no more than the header names."""
        places = [place for place in (self.left, self.right, self.same, self.fold) if place is not None]
        most = _PLAIN if self.names is None else len(self.names)
        if max(places) >= len(fields) or len(fields) > most or not all(fields[place] for place in places):
            return False
        return self.fold is None or re.fullmatch(r"[0-9]{1,9}", fields[self.fold]) is not None


def columns_in(rows: Sequence[Sequence[str]]) -> Columns | None:
    """The columns by the header, the first row; None where it is none.

    Where there are several pairs of columns, such as `image_a`, `image_b` and `image_a_path`, `image_b_path`,
    the pair with the most distinct names is taken, and the first pair on a tie.
    """
    names = _uncommented(*rows[:2])
    header = [letters(name) for name in names]
    pairs = _photo_columns(header)
    same = next((place for place, name in enumerate(header) if name in _LABELS), None)
    if not pairs or same is None:
        return None
    fold = next((place for place, name in enumerate(header) if name in _FOLDS), None)
    left, right = max(pairs, key=lambda pair: _photos_told_apart(rows[1:], pair))
    return Columns(left, right, same, fold, tuple(names))


def sides_of(name: str, columns: Iterable[str]) -> tuple[str, str] | None:
    """The two columns that say something of a pair's photos, as `race1` and `race2` do; None without them.

    Args:
        name: what they say, such as `race`.
        columns: the names that there are.

    Raises:
        InputError: two columns of one photo differ in spelling alone.
    """
    called = letters(name)
    if not called:  # signs alone, which a column `1` would fit
        return None
    by_letters: defaultdict[str, list[str]] = defaultdict(list)
    for column in columns:
        by_letters[letters(column)].append(column)
    for one, other in _SIDES:
        for begin, end in ((f"{called}{one}", f"{called}{other}"), (f"{one}{called}", f"{other}{called}")):
            if begin in by_letters and end in by_letters:
                return _only(by_letters[begin]), _only(by_letters[end])
    return None


def _only(columns: Sequence[str]) -> str:
    """The one column of a spelling."""
    if len(columns) > 1:
        raise InputError(
            "protocol",
            "must have one column for each photo of a pair; names count without blanks, signs and case",
            got=" and ".join(map(repr, columns)),
            fix="Rename one of them in the list.",
        )
    return columns[0]


def columns_without_header(rows: Sequence[Sequence[str]]) -> Columns | None:
    """The columns by what the rows hold: three fields, the label first or last; None for anything else."""
    if any(len(fields) != _PLAIN for fields in rows):
        return None
    for same, (left, right) in ((2, (0, 1)), (0, (1, 2))):
        labels = [row[same] for row in rows]
        photos = [row[place] for row in rows for place in (left, right)]
        # Words of two pairs of labels are the name of a column, and a label below it.
        if are_labels(labels) and all(map(_is_photo, photos)):
            return Columns(left, right, same)
    return None


def _uncommented(header: Sequence[str], row: Sequence[str] = ()) -> Sequence[str]:
    """The names of a header without the `#` that some programs put before it.

    A `#` alone is a name where the rows have as many fields; so is nothing, as pandas calls its row numbers.
    """
    first, *others = header
    if first == "#" and len(row) < len(header):
        return others
    return [first.removeprefix("#").strip(), *others]


def _photo_columns(header: Sequence[str]) -> list[tuple[int, int]]:
    """The pairs of columns whose names differ in the side alone, in the order of the header."""
    found: defaultdict[tuple[str, tuple[str, str]], dict[str, int]] = defaultdict(dict)
    for place, name in enumerate(header):
        for sides in _SIDES:
            for side in sides:
                rest = _without_side(name, side)
                if rest is not None:
                    found[rest, sides].setdefault(side, place)
    return sorted(
        (places[sides[0]], places[sides[1]]) for (_, sides), places in found.items() if len(places) == 2
    )


def _without_side(name: str, side: str) -> str | None:
    """What a column's name says beside the side, as `image` in `image1`; None where it is of another kind."""
    word = len(side) > 1 and side.isalpha()
    match = re.fullmatch(rf"({_PHOTO}*){side}({_PHOTO}*)", name)
    if match is None or not (word or match.group(1) or match.group(2)):
        return None
    return f"{match.group(1)}-{match.group(2)}"


def _photos_told_apart(rows: Sequence[Sequence[str]], pair: tuple[int, int]) -> int:
    return len({row[place] for row in rows for place in pair if place < len(row)})


def _is_photo(field: str) -> bool:
    return bool(field) and re.fullmatch(r"[+-]?[0-9.]+", field) is None
