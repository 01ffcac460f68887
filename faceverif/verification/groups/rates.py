"""False match and false non-match rates of groups at one threshold, and how far they lie apart.

The threshold is that of all pairs at one false accept rate: a group's rate at a threshold of its own would
hide the difference that its people meet. Intervals are Wilson's, of pairs. The ratio of two rates has the
interval of Walter (1975): normal in the logarithm, with half an error added to each count.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import few
from faceverif.intervals import NORMAL_QUANTILE_95, wilson_interval
from faceverif.report.numbers import rate_with_interval, significant
from faceverif.verification.groups.grouping import MIXED, MIXED_RULE, UNKNOWN, UNKNOWN_RULE, Grouping
from faceverif.verification.roc import OperatingPoint

FEWEST_PAIRS = 30
RESOLVED_RULE = (
    f"a rate is compared where the group has {FEWEST_PAIRS} pairs of the kind or more, and the rate of all "
    "pairs predicts at least one error among them"
)
INTERVAL_RULE = (
    "95 % Wilson interval, as if pairs were independent: pairs that share people make it too narrow"
)
RATIO_RULE = (
    "highest over lowest rate of the compared groups, without the rows of mixed and unknown pairs; 95 % "
    "interval of Walter (1975) for these two. The largest of several ratios is above 1 by chance too: beside "
    "it stands the share of 2,000 random assignments of the errors to the groups' pairs with a ratio as large"
)
_KINDS = {MIXED: "mixed", UNKNOWN: "unknown"}
_ASSIGNMENTS = 2000
_RATES = (("false_match", "false match", "impostor"), ("false_non_match", "false non-match", "genuine"))


@dataclass(frozen=True)
class Rate:
    """Errors among the pairs of one kind.

    Attributes:
        errors: how many.
        pairs: of how many.
        resolved: whether that is enough for a rate: see `RESOLVED_RULE`.
    """

    errors: int
    pairs: int
    resolved: bool

    @property
    def rate(self) -> float | None:
        """The share of errors; None without pairs."""
        return self.errors / self.pairs if self.pairs else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """See `INTERVAL_RULE`."""
        return wilson_interval(self.errors, self.pairs) if self.pairs else None

    def as_json(self) -> dict[str, Any]:
        """Counts, rate and interval."""
        return asdict(self) | {"rate": self.rate, "interval": self.interval}


@dataclass(frozen=True)
class GroupRow:
    """What one group's pairs showed.

    Attributes:
        group: its name; of mixed and unknown pairs what they are.
        kind: group, mixed or unknown.
        false_match: impostor pairs that were accepted.
        false_non_match: genuine pairs that were rejected.
    """

    group: str
    kind: str
    false_match: Rate
    false_non_match: Rate


@dataclass(frozen=True)
class LargestRatio:
    """The highest rate of a group over the lowest: see `RATIO_RULE`.

    Attributes:
        highest, lowest: the groups; any two where all rates are equal.
        ratio: None where the lowest rate is 0.
        low: lower end of its interval.
        high: the upper end; None where there is none.
        by_chance: share of random assignments with a ratio as large.
    """

    highest: str
    lowest: str
    ratio: float | None
    low: float
    high: float | None
    by_chance: float

    @property
    def text(self) -> str:
        """In a line."""
        if self.ratio == 1:
            return "1, all rates are equal"
        ratio = f"above {significant(self.low, 2)}"
        if self.ratio is not None and self.high is not None:
            ends = f"{significant(self.low, 2)} to {significant(self.high, 2)}"
            ratio = f"{significant(self.ratio)} ({ends})"
        chance = significant(100 * self.by_chance)
        return f"{ratio}, {self.highest} over {self.lowest}; by chance as large in {chance} %"


@dataclass(frozen=True)
class GroupRates:
    """All groups of a column at one threshold.

    Attributes:
        grouping: the groups.
        target: false accept rate of all pairs at which the threshold was set.
        point: the threshold, and the rates of all pairs there.
        rows: one per group, then the mixed and the unknown pairs where there are some.
        false_match_ratio, false_non_match_ratio: None where fewer than two groups resolve the rate.
    """

    grouping: Grouping
    target: float
    point: OperatingPoint
    rows: tuple[GroupRow, ...]
    false_match_ratio: LargestRatio | None
    false_non_match_ratio: LargestRatio | None

    @property
    def warnings(self) -> list[str]:
        """Groups that are too small to be compared, in words."""
        notes = []
        for kind, words, pairs in _RATES:
            small = [row for row in self.rows if row.kind == "group" and not getattr(row, kind).resolved]
            if small:
                names = few([f"{row.group} ({getattr(row, kind).pairs:,})" for row in small])
                notes.append(f"too few {pairs} pairs to compare the {words} rate: {names}")
        return notes

    def as_json(self) -> dict[str, Any]:
        """All of it, JSON-able; rates are fractions."""
        return {
            "column": self.grouping.column,
            "origin": self.grouping.origin,
            "target_far": self.target,
            "threshold": self.point.threshold,
            "far": self.point.far,
            "frr": self.point.frr,
            "rows": [
                {
                    "group": row.group,
                    "kind": row.kind,
                    "false_match": row.false_match.as_json(),
                    "false_non_match": row.false_non_match.as_json(),
                }
                for row in self.rows
            ],
            "largest_ratio": {
                "false_match": self.false_match_ratio and asdict(self.false_match_ratio),
                "false_non_match": self.false_non_match_ratio and asdict(self.false_non_match_ratio),
            },
            "warnings": self.warnings,
            "rules": {
                "groups": f"{self.grouping.rule}; {MIXED_RULE}; {UNKNOWN_RULE}",
                "resolved": RESOLVED_RULE,
                "interval": INTERVAL_RULE,
                "ratio": RATIO_RULE,
            },
        }

    def lines(self) -> list[str]:
        """For a terminal."""
        wide = max(len(row.group) for row in self.rows)
        lines = [
            f"by {self.grouping.column} (from {self.grouping.origin}), at threshold "
            f"{self.point.threshold:.4f}, FAR {self.target:g} of all pairs",
            *(
                f"  {row.group:<{wide}}  false matches {_rate_text(row.false_match)}, false non-matches "
                f"{_rate_text(row.false_non_match)}"
                for row in self.rows
            ),
        ]
        for kind, ratio in (("match", self.false_match_ratio), ("non-match", self.false_non_match_ratio)):
            lines.append(f"  largest ratio of false {kind} rates: {ratio.text if ratio else 'not resolved'}")
        return lines + [f"  warning: {warning}" for warning in self.warnings]


def group_rates(
    scores: NDArray[np.float64],
    same: NDArray[np.bool_],
    grouping: Grouping,
    *,
    point: OperatingPoint,
    target: float,
) -> GroupRates:
    """The rates of each group at one threshold.

    Args:
        scores: (pairs,), higher = more alike.
        same: (pairs,), True for genuine pairs.
        grouping: the group of each of these pairs.
        point: the threshold, with the rates of all these pairs.
        target: the false accept rate that it was set for.
    """
    accepted = scores >= point.threshold
    rows = []
    for number in [*range(len(grouping.names)), MIXED, UNKNOWN]:
        here = grouping.group == number
        if number >= 0 or here.any():
            name = grouping.names[number] if number >= 0 else f"{_KINDS[number]} pairs"
            rows.append(
                GroupRow(
                    group=name,
                    kind=_KINDS.get(number, "group"),
                    false_match=_rate(here & ~same, accepted, overall=point.far),
                    false_non_match=_rate(here & same, ~accepted, overall=point.frr),
                )
            )
    groups = [row for row in rows if row.kind == "group"]
    return GroupRates(
        grouping=grouping,
        target=target,
        point=point,
        rows=tuple(rows),
        false_match_ratio=largest_ratio({row.group: row.false_match for row in groups}),
        false_non_match_ratio=largest_ratio({row.group: row.false_non_match for row in groups}),
    )


def _rate(pairs: NDArray[np.bool_], wrong: NDArray[np.bool_], *, overall: float) -> Rate:
    count = int(pairs.sum())
    resolved = count >= FEWEST_PAIRS and count * overall >= 1 - 1e-9
    return Rate(int((pairs & wrong).sum()), count, resolved)


def largest_ratio(rates: dict[str, Rate]) -> LargestRatio | None:
    """The largest ratio of two groups' rates; None where fewer than two are resolved, or nobody errs.

    Args:
        rates: group -> its rate.
    """
    compared = {name: rate for name, rate in rates.items() if rate.resolved}
    errors = np.array([rate.errors for rate in compared.values()])
    pairs = np.array([rate.pairs for rate in compared.values()])
    if len(compared) < 2 or not errors.sum():
        return None
    names = list(compared)
    shares = errors / pairs
    order = np.argsort(shares, kind="stable")
    highest, lowest = int(order[-1]), int(order[0])  # two groups, also where all are equal
    low, high = ratio_interval(compared[names[highest]], compared[names[lowest]])
    none = errors[lowest] == 0
    return LargestRatio(
        highest=names[highest],
        lowest=names[lowest],
        ratio=None if none else float(shares[highest] / shares[lowest]),
        low=low,
        high=None if none else high,
        by_chance=_by_chance(errors, pairs),
    )


def ratio_interval(one: Rate, other: Rate) -> tuple[float, float]:
    """95 % interval of the ratio of two rates; Walter (1975)."""
    a, n, b, m = one.errors + 0.5, one.pairs + 0.5, other.errors + 0.5, other.pairs + 0.5
    middle, spread = math.log(a / n / (b / m)), math.sqrt(1 / a - 1 / n + 1 / b - 1 / m)
    return math.exp(middle - NORMAL_QUANTILE_95 * spread), math.exp(middle + NORMAL_QUANTILE_95 * spread)


def _by_chance(errors: NDArray[np.int64], pairs: NDArray[np.int64]) -> float:
    """Share of assignments of as many errors to the pairs, regardless of groups, with a ratio as large."""
    drawn = np.random.default_rng(0).multivariate_hypergeometric(pairs, errors.sum(), size=_ASSIGNMENTS)
    found = _spread(np.vstack([errors, drawn]), pairs)
    return float((found >= found[0] * (1 - 1e-12)).mean())


def _spread(errors: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """(draws,) highest over lowest rate, with half an error added so that it is finite."""
    shares = (errors + 0.5) / (pairs + 0.5)
    return np.asarray(shares.max(axis=1) / shares.min(axis=1))


def _rate_text(rate: Rate) -> str:
    if rate.interval is None or rate.rate is None:
        return "no pairs"
    text = f"{rate.errors:,} of {rate.pairs:,}, {rate_with_interval(rate.rate, rate.interval)}"
    return text if rate.resolved else f"{text}, too few"
