"""The error-versus-discard characteristic: what remains of the false non-matches without the worst pairs.

Grother & Tabassi (2007), "Performance of biometric quality measures", and ISO/IEC 29794-1: the threshold is
fixed on all pairs; genuine pairs are discarded in the order of the lower quality of their two photos, and the
false non-match rate of the rest is reported. Curves are steps, and pairs of one quality are discarded
together (Schlett et al. 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceverif.report.numbers import rate_text
from faceverif.verification.quality.names import ALL_MEASURES
from faceverif.verification.roc import OperatingPoint

AREA_TO = 0.2
SHARES = (0.0, 0.05, 0.1, 0.2)
DISCARD_RULE = (
    "genuine pairs are discarded in the order of the lower quality of both photos, pairs of one quality "
    "together; a photo of unknown quality, such as one without a face, is discarded first; the threshold is "
    "that of all pairs"
)
AREA_RULE = (
    f"mean false non-match rate while 0 to {100 * AREA_TO:g} % are discarded: the area under the curve over "
    "its width. By chance: the share of 1,000 random orders with an area as small"
)
_ORDERS = 1000
_DRAWN_TO, _DRAWN_POINTS = 0.5, 100


@dataclass(frozen=True)
class DiscardCurve:
    """False non-matches over discarded genuine pairs; one point per distinct quality, rising from none.

    Attributes:
        discarded: (points,) genuine pairs.
        errors: (points,) false non-matches among the others.
        genuine: all genuine pairs.
    """

    discarded: NDArray[np.int64]
    errors: NDArray[np.int64]
    genuine: int

    @classmethod
    def of(cls, quality: NDArray[np.float64], wrong: NDArray[np.bool_]) -> DiscardCurve:
        """The curve of one measure.

        Args:
            quality: (genuine pairs,) NaN where it is not known.
            wrong: (genuine pairs,) whether each is rejected.
        """
        known = np.where(np.isnan(quality), -np.inf, quality)
        order = np.argsort(known, kind="stable")
        rising = known[order]
        first = np.flatnonzero(np.append(True, rising[1:] > rising[:-1]))
        before = np.append(0, np.cumsum(wrong[order]))
        return cls(first, int(wrong.sum()) - before[first], len(quality))

    @property
    def share(self) -> NDArray[np.float64]:
        """(points,) of the genuine pairs that are discarded."""
        return self.discarded / self.genuine

    @property
    def rate(self) -> NDArray[np.float64]:
        """(points,) false non-match rate of the others."""
        return self.errors / (self.genuine - self.discarded)

    def rate_at(self, share: float) -> float:
        """The rate where at most that share is discarded."""
        return float(self.rate[np.searchsorted(self.share, share + 1e-12, side="right") - 1])

    def area(self, to: float = AREA_TO) -> float:
        """See `AREA_RULE`."""
        inside = self.share < to
        widths = np.diff(np.append(self.share[inside], to))
        return float(self.rate[inside] @ widths) / to


def ideal_curve(genuine: int, errors: int) -> DiscardCurve:
    """The curve of a measure that discards nothing but false non-matches, as long as there are some."""
    return DiscardCurve.of(np.arange(genuine, dtype=np.float64), np.arange(genuine) < errors)


def by_chance(curve: DiscardCurve) -> float:
    """Share of random orders, and of this one among them, whose area is as small as the curve's."""
    errors, genuine = int(curve.errors[0]), curve.genuine
    steps = np.arange(genuine)
    widths = np.clip(AREA_TO * genuine - steps, 0, 1)  # how much of each step lies within the area
    reached = np.cumsum(widths / (genuine - steps)) / (AREA_TO * genuine)  # by an error in that place
    random = np.random.default_rng(0)
    areas = [reached[random.choice(genuine, errors, replace=False)].sum() for _ in range(_ORDERS)]
    as_small = np.count_nonzero(np.array(areas) <= curve.area() * (1 + 1e-12))
    return (as_small + 1) / (_ORDERS + 1)


@dataclass(frozen=True)
class DiscardReport:
    """The curves of all measures at one threshold.

    Attributes:
        target: false accept rate of all pairs at which the threshold was set.
        point: the threshold, and the rates of all pairs there.
        genuine: all genuine pairs.
        curves: measure -> its curve; the most useful first.
        unknown: measure -> genuine pairs with a photo of which it is not known.
        missing: measures that are known of no genuine pair.
    """

    target: float
    point: OperatingPoint
    genuine: int
    curves: Mapping[str, DiscardCurve]
    unknown: Mapping[str, int]
    missing: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """All of it, JSON-able; rates are fractions."""
        return {
            "target_far": self.target,
            "threshold": self.point.threshold,
            "far": self.point.far,
            "frr": self.point.frr,
            "genuine_pairs": self.genuine,
            "false_non_matches": self.point.false_rejects,
            "measures": [
                _described(curve)
                | {
                    "measure": name,
                    "about": ALL_MEASURES[name],
                    "unknown_pairs": self.unknown[name],
                    "by_chance": by_chance(curve) if self.point.false_rejects else None,
                }
                for name, curve in self.curves.items()
            ],
            "ideal": _described(ideal_curve(self.genuine, self.point.false_rejects)),
            "not_known": list(self.missing),
            "rules": {"discard": DISCARD_RULE, "area": AREA_RULE},
        }

    def lines(self) -> list[str]:
        """For a terminal."""
        lines = [
            f"error versus discard, at threshold {self.point.threshold:.4f}, FAR {self.target:g} of all "
            f"pairs: {self.point.false_rejects:,} of {self.genuine:,} genuine pairs are false non-matches"
        ]
        wide = max(map(len, [*self.curves, "ideal"]))
        for name, curve in self.curves.items():
            left = (f"{rate_text(curve.rate_at(share))} at {100 * share:g} %" for share in SHARES[1:])
            lines.append(f"  {name:<{wide}}  {', '.join(left)} discarded; area {rate_text(curve.area())}")
        ideal = ideal_curve(self.genuine, self.point.false_rejects).area()
        lines.append(
            f"  {'ideal':<{wide}}  area {rate_text(ideal)}; none discarded {rate_text(self.point.frr)}"
        )
        if not self.curves:
            return [*lines, "  no measure is known of any genuine pair"]
        return lines + [f"  {name}: not known of any genuine pair" for name in self.missing]


def discard_report(
    qualities: Mapping[str, NDArray[np.float64]],
    scores: NDArray[np.float64],
    same: NDArray[np.bool_],
    *,
    point: OperatingPoint,
    target: float,
) -> DiscardReport:
    """The curves of several measures.

    Args:
        qualities: measure -> (pairs,), higher = better; NaN where it is not known.
        scores: (pairs,), higher = more alike.
        same: (pairs,), True for genuine pairs.
        point: the threshold, with the rates of all these pairs.
        target: the false accept rate that it was set for.
    """
    wrong = scores[same] < point.threshold
    known = {name: quality[same] for name, quality in qualities.items()}
    there = {name: quality for name, quality in known.items() if not np.isnan(quality).all()}
    curves = {name: DiscardCurve.of(quality, wrong) for name, quality in there.items()}
    return DiscardReport(
        target=target,
        point=point,
        genuine=int(same.sum()),
        curves=dict(sorted(curves.items(), key=lambda each: each[1].area())),
        unknown={name: int(np.isnan(quality).sum()) for name, quality in there.items()},
        missing=tuple(name for name in known if name not in there),
    )


def _described(curve: DiscardCurve) -> dict[str, Any]:
    """Area, rates at some shares, and the curve in few points."""
    shares = np.unique(np.append(np.linspace(0, _DRAWN_TO, _DRAWN_POINTS + 1), SHARES))
    return {
        "area": curve.area(),
        "rate_at": {f"{share:g}": curve.rate_at(share) for share in SHARES},
        "curve": [[round(float(share), 4), curve.rate_at(share)] for share in shares],
    }
