"""How the names of lists, sets of photos and columns are compared, whatever their spelling."""

from __future__ import annotations

import unicodedata

_DROPPED = ("P", "Z", "Cc", "Cf")  # Unicode's categories of punctuation, blanks and invisible characters


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): macOS writes an accent behind its letter, others as one."""
    return unicodedata.normalize("NFC", name)


def letters(name: str) -> str:
    """A name by its letters and digits alone, so that `agedb_30` and `AgeDB-30` are one.

    Names of every script keep what tells them apart: letters, their accents and vowel signs, and symbols
    such as emoji. Characters of one meaning, such as full-width digits, are one (NFKC, UAX #15).
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(filter(_counts, plain))


def _counts(character: str) -> bool:
    if character.isascii():
        return character.isalnum()
    return not unicodedata.category(character).startswith(_DROPPED)
