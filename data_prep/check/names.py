"""Names that make trouble later: two spellings of one person, and those that no list of photos can hold."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from data_prep.errors import InputError
from data_prep.protocols.list_text import SEPARATORS, split_rows
from data_prep.protocols.photo_names import tidied

_COMMA = next(separator for separator in SEPARATORS if separator.sign == ",")
# Only names with one of these are written and read again; the others are kept as they are.
_SUSPECT = re.compile(r"""[\\\x00-\x1f"'\x85\u2028\u2029\ufeff]|//|^\./|^[\s#]|\s$""")


def doubtful_names(
    identities: Iterable[str | None], photos: Iterable[str]
) -> dict[tuple[str, str], list[str]]:
    """The names that make trouble, by noun in the singular and trouble.

    Args:
        identities: of the photos; None for a photo without one.
        photos: their keys.
    """
    people = {name for name in identities if name is not None}
    found = {
        (
            "identity",
            "with a name that differs from another one in case, accents' encoding or outer blanks alone: "
            "these count as different people",
        ): _spelled_alike(people),
        (
            "name",
            "that `data pairs` and `data gallery` cannot write into a list: rename before you align",
        ): [repr(name) for name in sorted({*people, *photos}) if not _fits_a_list(name)],
    }
    return {trouble: names for trouble, names in found.items() if names}


def _spelled_alike(people: Iterable[str]) -> list[str]:
    """Names of which another one is the same after NFC, case folding and trimming; each beside the other."""
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(people):
        folded = unicodedata.normalize("NFC", name.strip()).casefold()
        spellings[unicodedata.normalize("NFC", folded)].append(name)
    return [repr(name) for _, names in sorted(spellings.items()) if len(names) > 1 for name in names]


def _fits_a_list(name: str) -> bool:
    """Whether a list of photos that we write and read again has the same name."""
    if _SUSPECT.search(name) is None:
        return True
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([name, "a/b", "1"])
    try:
        rows = list(split_rows(text.getvalue().rstrip().split("\n"), _COMMA, field="a list"))
    except InputError:
        return False
    return len(rows) == 1 and rows[0].fields[0] == name and tidied([name, "a/b"])[0][0] == name
