"""One of several equal parts of a data set, so that each worker or machine reads only its own."""

from __future__ import annotations

import re
from typing import NamedTuple

from data_prep.errors import InputError


class Part(NamedTuple):
    """Which part, of how many.

    Attributes:
        number: from 1.
        of: parts in all.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """`2/8`, the second of eight.

        Raises:
            InputError: no such text, or a part beyond the last one.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        part = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not 1 <= part.number <= part.of:
            rule, fix = "must be a part and how many there are", "Write 1/8 for the first of eight."
            raise InputError("--part", rule, got=text, fix=fix)
        return part

    def span(self, count: int) -> slice:
        """Its items of a sequence of `count`; the parts differ by one item at most."""
        return slice((self.number - 1) * count // self.of, self.number * count // self.of)
