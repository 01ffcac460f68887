"""Counts as messages and pages print them, and what comes more than once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def repeated(values: Iterable[T]) -> list[T]:
    """Those that come more than once, each once, in their order."""
    return [value for value, times in Counter(values).items() if times > 1]


def counted(number: int, noun: str) -> str:
    """A count with its noun in the singular or plural; also a filter of the templates.

    Args:
        number: how many.
        noun: in the singular, `pair` or `impostor pair`; its last word is the one that changes.
    """
    return f"{number:,} {noun if number == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.endswith("person"):
        return noun.removesuffix("person") + "people"
    if noun.endswith(("py", "ry", "ty")):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "tch", "rch")) else "s")
