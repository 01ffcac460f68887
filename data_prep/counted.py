"""Counts as messages and pages print them."""

from __future__ import annotations


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
