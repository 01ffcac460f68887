"""How numbers are printed."""

from __future__ import annotations

import re
from decimal import ROUND_UP, Context

_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(<small>)?(%|px|ms|s|min|MB|GB)(?!\w))")


def percent(rate: float, digits: int = 2) -> str:
    """A rate in percent, without the sign; also the filter `percent` of the templates."""
    return f"{100 * rate:.{digits}f}"


def rate_text(rate: float) -> str:
    """A rate in percent with three significant digits, and the sign."""
    return f"{100 * rate:.3g} %"


def rate_with_interval(rate: float, interval: tuple[float, float]) -> str:
    """The same, with its interval behind it."""
    low, high = interval
    return f"{rate_text(rate)} ({100 * low:.3g} to {100 * high:.3g} %)"


def significant(number: float, digits: int = 3) -> str:
    """A number in significant digits, a large one without an exponent; also a filter of the templates."""
    rounded = float(f"{number:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10**digits else f"{number:.{digits}g}"


def unbroken(text: str) -> str:
    """A page, or a text in Markdown, in which no line ends between a number and its unit."""
    return _BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", text)


def one_in(count: int) -> str:
    """The smallest rate that `count` cases resolve, 1 / count, as text; rounded up to two digits.

    Args:
        count: >= 1.
    """
    return f"{Context(prec=2, rounding=ROUND_UP).divide(1, count):f}"
