"""Values -> groups: texts as they are, numbers in bins; and the group of each pair."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError, few
from data_prep.protocols import VerificationProtocol
from data_prep.protocols.attributes import Attributes
from faceverif.verification.groups.columns import OPTION, PairColumn, column_names, find_column

MIXED, UNKNOWN = -1, -2  # in place of a group's number
MIXED_RULE = "a pair of two groups is counted in the row of mixed pairs"
UNKNOWN_RULE = "a pair with a photo of which the column says nothing is counted in a row of its own"
_MOST = 24  # groups
_PLAIN_NUMBERS = 12  # different numbers that are groups as they are; more are put into bins
_QUARTERS = 4
_BINS_FIX = (
    "Write bins of a width as age:10, their bounds as age:18,40 (one bound: age:18,), or parts of equal size "
    "as age:q4."
)


@dataclass(frozen=True)
class Grouping:
    """The group of each pair.

    Attributes:
        column: by which.
        origin: where the column comes from, in words.
        rule: how its values became groups, in words.
        names: of the groups.
        group: (pairs,) an index into the names, `MIXED` or `UNKNOWN`.
    """

    column: str
    origin: str
    rule: str
    names: tuple[str, ...]
    group: NDArray[np.int64]


@dataclass(frozen=True)
class _Bins:
    """Bins of numbers: `bounds[i]` belongs to the bin that begins there."""

    bounds: NDArray[np.float64]
    rule: str

    def of(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """(values,) the number of each bin: 0 lies below the first bound."""
        return np.searchsorted(self.bounds, values, side="right")

    def name(self, number: int) -> str:
        """What the bin holds, with as many digits as tell the bounds apart, at least four."""
        texts = ([f"{bound:.{digits}g}" for bound in self.bounds] for digits in (4, 6, 9, 17))
        bounds = next(each for each in texts if len(set(each)) == len(each))
        if number == 0:
            return f"below {bounds[0]}"
        return (
            f"{bounds[-1]} and more" if number == len(bounds) else f"{bounds[number - 1]} to {bounds[number]}"
        )


def find_groupings(
    wanted: Sequence[str], protocol: VerificationProtocol, dataset: AlignedDataset, attributes: Path | None
) -> tuple[Grouping, ...]:
    """The groups of a protocol's pairs by each column that was asked for.

    Args:
        wanted: columns, with their bins where they have some, such as `sex` or `age:10`.
        protocol: the pairs.
        dataset: with their photos.
        attributes: a file that says more of the photos or people.

    Raises:
        InputError: no such column, one with a single value or with too many, bins of what is no number, or a
            file of attributes that cannot be used.
    """
    table = None if attributes is None else Attributes.read(attributes)
    return tuple(_grouping(each, protocol, dataset, table) for each in wanted)


def _grouping(
    wanted: str, protocol: VerificationProtocol, dataset: AlignedDataset, attributes: Attributes | None
) -> Grouping:
    names = column_names(protocol, dataset, attributes)
    name, colon, bins = (wanted, "", "") if wanted in names else wanted.partition(":")
    column = find_column(name, protocol, dataset, attributes)
    numbers = _numbers(column)
    if colon and numbers is None:
        raise InputError(
            f"{OPTION} {wanted}",
            "bins are for columns of numbers",
            got=f"values such as {few(_texts(column), most=3)}",
            fix=f"Write {OPTION} {name}.",
        )
    many = numbers is not None and len(np.unique(numbers[~np.isnan(numbers)])) > _PLAIN_NUMBERS
    if numbers is not None and (colon or many):
        grouping = _binned(column, numbers, _bins(wanted, bins if colon else f"q{_QUARTERS}", numbers))
    else:
        grouping = _as_they_are(column, numbers)
    _refuse_unfit(wanted, grouping, others=[each for each in names if each != name])
    return grouping


def _numbers(column: PairColumn) -> NDArray[np.float64] | None:
    """(2, pairs) numbers, NaN where nothing is known; None for a column of texts, or of true and false."""
    if column.of_names or any(isinstance(value, bool) for value in (*column.left, *column.right)):
        return None
    try:
        sides = [
            [math.nan if value is None else float(value) for value in side]
            for side in (column.left, column.right)
        ]
    except ValueError:
        return None
    numbers = np.array(sides)
    return None if np.isinf(numbers).any() or np.isnan(numbers).all() else numbers


def _texts(column: PairColumn) -> list[str]:
    return sorted({str(value) for value in (*column.left, *column.right) if value is not None})


def _as_they_are(column: PairColumn, numbers: NDArray[np.float64] | None) -> Grouping:
    """Each value is a group; equal numbers are one, also where they are written as `1` and as `1.0`."""
    sides: Sequence[Sequence[Any]] = (column.left, column.right)
    if numbers is not None:
        sides = [[None if math.isnan(value) else value for value in side] for side in numbers.tolist()]
    values = {value for side in sides for value in side if value is not None}
    order = sorted(values, key=str) if numbers is None else sorted(values)
    number = {value: place for place, value in enumerate(order)} | {None: UNKNOWN}
    left, right = (np.array([number[value] for value in side], np.int64) for side in sides)
    names = tuple(map(_name, order))
    return Grouping(column.name, column.origin, "each value is a group", names, _of_pairs(left, right))


def _name(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.6g}"
    return str(value)


def _binned(column: PairColumn, numbers: NDArray[np.float64], bins: _Bins) -> Grouping:
    found = np.where(np.isnan(numbers), UNKNOWN, bins.of(numbers))
    used = np.unique(found[found >= 0])
    place = np.where(found < 0, found, np.searchsorted(used, found))
    names = tuple(bins.name(int(number)) for number in used)
    return Grouping(column.name, column.origin, bins.rule, names, _of_pairs(*place))


def _of_pairs(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """(pairs,) the group of both photos; see `MIXED_RULE` and `UNKNOWN_RULE`."""
    unknown = (left == UNKNOWN) | (right == UNKNOWN)
    return np.where(unknown, UNKNOWN, np.where(left == right, left, MIXED))


def _bins(wanted: str, text: str, numbers: NDArray[np.float64]) -> _Bins:
    """Bins as the user wrote them."""
    there = numbers[~np.isnan(numbers)]
    if re.fullmatch("q0*[1-9][0-9]{0,5}", text) and int(text[1:]) > 1:
        parts = int(text[1:])
        begins = np.arange(1, parts) * len(there) // parts
        bounds = np.unique(np.sort(there)[begins])
        return _Bins(
            bounds,
            f"{parts} parts of about equal size, over both photos of all pairs; a part holds its lower bound",
        )
    try:
        bounds = np.array([float(part) for part in text.split(",") if part.strip()])
    except ValueError as error:
        raise _unfit_bins(wanted) from error
    if not len(bounds) or not np.isfinite(bounds).all() or (np.diff(bounds) <= 0).any():
        raise _unfit_bins(wanted)
    if "," in text:
        return _Bins(bounds, "bins with the given bounds; a bin holds its lower bound")
    [width] = bounds
    if width <= 0 or (there.max() - there.min()) / width > 1000:
        raise _unfit_bins(wanted)
    # Multiples of the number as it is written: in floating point 3 * 0.1 is above 0.3. A quotient may be off
    # by one likewise; a bin more on each side costs nothing, since empty ones are left out.
    first, last = (math.floor(value / width) for value in (there.min(), there.max()))
    multiples = [float(Decimal(text) * place) for place in range(first - 1, last + 3)]
    return _Bins(np.array(multiples), f"bins of width {width:g}; a bin holds its lower bound")


def _unfit_bins(wanted: str) -> InputError:
    return InputError(
        OPTION,
        "bins must be a width above 0, rising bounds, or q and a number of parts",
        got=wanted,
        fix=_BINS_FIX,
    )


def _refuse_unfit(wanted: str, grouping: Grouping, *, others: Sequence[str]) -> None:
    """A column must give two groups or more, and not too many."""
    count = len(grouping.names)
    if count < 2:
        raise InputError(
            f"{OPTION} {wanted}",
            "must have two groups or more",
            got=f"one, {grouping.names[0]}, for all pairs" if count else "no value for any pair",
            fix=f"Other columns: {', '.join(others)}; --attributes FILE adds those of a file.",
        )
    if count > _MOST:
        raise InputError(
            f"{OPTION} {wanted}",
            f"must have at most {_MOST} groups",
            got=f"{count:,}: {few(grouping.names, most=3)}",
            fix=f"{_BINS_FIX} Texts must be merged in the file.",
        )
