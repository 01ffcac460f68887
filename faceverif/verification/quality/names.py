"""The names of the measures, and how a least value of one is written."""

from __future__ import annotations

import math
from collections.abc import Iterable

from data_prep.errors import InputError
from data_prep.quality.names import MEASURES

NORM = "norm"
ALL_MEASURES = {NORM: "length of the embedding before normalisation", **MEASURES}
OPTION = "--min-quality"


def least_quality(texts: Iterable[str]) -> dict[str, float]:
    """Measure -> its least value, from texts such as `sharpness=40`.

    Raises:
        InputError: another form, an unknown measure, one that is named twice, or no finite number.
    """
    least: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in ALL_MEASURES:
            fix = f"Measures: {', '.join(ALL_MEASURES)}."
            raise InputError(OPTION, "must be MEASURE=VALUE, such as sharpness=200", got=text, fix=fix)
        if name in least:
            raise InputError(OPTION, f"must name {name} once", got=text, fix="Leave one of the two.")
        try:
            least[name] = float(value)
        except ValueError:
            least[name] = math.nan
        if not math.isfinite(least[name]):
            raise InputError(
                OPTION, "must have a number as its value", got=text, fix=f"Write {name}=1.5 or so."
            )
    return least


def least_text(least: dict[str, float]) -> str:
    """In words."""
    return " and ".join(f"{name} of at least {value:g}" for name, value in least.items())
