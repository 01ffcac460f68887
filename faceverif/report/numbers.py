"""How numbers are printed."""

from __future__ import annotations


def percent(rate: float, digits: int = 2) -> str:
    """A rate in percent, without the sign; also the filter `percent` of the templates."""
    return f"{100 * rate:.{digits}f}"
