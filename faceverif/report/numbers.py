"""How numbers are printed."""

from __future__ import annotations


def percent(rate: float, *, digits: int = 2) -> str:
    """A rate as people read it, without the sign."""
    return f"{100 * rate:.{digits}f}"
