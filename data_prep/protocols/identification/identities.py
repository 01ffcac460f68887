"""How lists of photos name people: nobody is an empty field, and each person is spelled in one way."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from data_prep.counted import counted
from data_prep.errors import InputError, few
from data_prep.protocols.attributes import known
from data_prep.protocols.identification.base import PhotoList
from data_prep.protocols.list_text import Row
from data_prep.protocols.spelling import composed

# What some lists write for strangers. As an identity it would make one person of them all.
_NOBODY = {"-1", "-1.0", "?", "-", "unknown", "stranger", "strangers", "nobody", "distractor", "distractors"}
_ACCENTS = re.compile("[\u0300-\u036f]")  # of European scripts; in others such a mark makes another letter
_WHOLE_NUMBER = re.compile(r"\+?0*([0-9]+)(?:\.0*)?")


def read_identities(path: Path, rows: Sequence[Row], fields: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The identities of a list that somebody wrote, and a note on what was read as nobody.

    Args:
        path: of the list.
        rows: of photos.
        fields: (rows,) what stands there for the identity.

    Raises:
        InputError: a word such as `stranger` or a number such as -1 stands for nobody.
    """
    for row, field in zip(rows, fields, strict=True):
        if field.lower() in _NOBODY:
            raise InputError(
                f"{path}, line {row.line}",
                "an identity must name a person",
                got=repr(field),
                fix="Where nobody is named, leave the identity empty.",
            )
    identities = tuple(composed(known(field) or "") for field in fields)
    words = [field for field, identity in zip(fields, identities, strict=True) if field and not identity]
    return (
        identities,
        f"nobody is meant by {few(list(dict.fromkeys(words)))} ({counted(len(words), 'photo')})"
        if words
        else "",
    )


def refuse_two_spellings(gallery: PhotoList, probes: PhotoList) -> None:
    """Refuse spellings of one person, such as `Anna` and `anna`: a probe would silently be a stranger's.

    Raises:
        InputError: a person of the gallery seems to be there under two names.
    """
    enrolled = {composed(name) for name in gallery.identities if name}
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    for name in enrolled | {composed(name) for name in probes.identities if name}:
        spellings[_plain(name)].add(name)
    for names in spellings.values():
        if len(names) > 1 and not enrolled.isdisjoint(names):
            raise InputError(
                probes.field,
                f"must spell each person in one way, as {gallery.field} does",
                got=" and ".join(map(repr, sorted(names))),
                fix="Spell them alike; two people whose names are so much alike need names that differ more.",
            )


def _plain(name: str) -> str:
    """A name without case, accents and the kind of space; `1`, `01` and `1.0` are one number."""
    number = _WHOLE_NUMBER.fullmatch(name)
    if number is not None:
        return number[1]
    letters = _ACCENTS.sub("", unicodedata.normalize("NFKD", name)).casefold()
    return re.sub(r"[\s_]+", " ", letters)
