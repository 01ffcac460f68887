"""Identification numbers from the candidates of searches: exact counts, no grid.

A search is mated if its person is in the gallery. With the words of ISO/IEC 19795-1 and of NIST's FRTE 1:N:
FPIR(N, T) is the share of the non-mated searches that return anybody with a similarity of T or more;
FNIR(N, R, T) the share of the mated searches whose mate is not among the first R people, or is below T;
TPIR = 1 - FNIR. The open-set numbers here have R = 1, the CMC has no threshold. All are fractions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.errors import InputError
from faceverif.identification.search import Candidates
from faceverif.intervals import wilson_interval
from faceverif.verification.roc import resolves

RANKS = (1, 5, 10)
MOST_RANKS = 20  # of the CMC
TARGET_FPIRS = (0.1, 0.01)
CMC_RULE = (
    "share of the mated probes whose mate is among the R most similar people, whatever the similarity; "
    "of people who are equally similar the mate comes last"
)
OPEN_SET_RULE = (
    "FPIR(N, T): share of the non-mated probes for whom anybody reaches T. TPIR(N, T) = 1 - FNIR(N, 1, T): "
    "share of the mated probes whose mate is the most similar person and reaches T (ISO/IEC 19795-1; NIST "
    "FRTE 1:N)"
)
THRESHOLD_RULE = (
    "lowest threshold whose FPIR does not exceed the target; needs at least 1 / FPIR non-mated probes"
)
INTERVAL_RULE = "95 % Wilson score interval; it assumes independent searches, at a fixed threshold"


@dataclass(frozen=True)
class Searches:
    """How each probe fared.

    Attributes:
        mated: (probes,) True where the probe's person is in the gallery by the lists.
        rank: (probes,) place of the mate, from 1; 0 where it is not among the first `MOST_RANKS` people,
            there is no mate, or the probe could not be searched.
        similarity: (probes,) of the most similar person; -inf for a probe that could not be searched.
        people: how many people were searched.
    """

    mated: NDArray[np.bool_]
    rank: NDArray[np.int64]
    similarity: NDArray[np.float64]
    people: int

    @classmethod
    def of(
        cls,
        candidates: Candidates,
        *,
        searched: NDArray[np.bool_],
        person: NDArray[np.int64],
        mated: NDArray[np.bool_],
        people: int,
    ) -> Searches:
        """From the candidates of the probes that could be searched.

        Args:
            candidates: of these, at least `MOST_RANKS` + 1 people or all.
            searched: (probes,) which ones they are; a probe without an embedding is not searched.
            person: (probes,) who each shows; a stranger has a number that nobody in the gallery has.
            mated: (probes,) whether the lists say that the person is in the gallery.
            people: how many people were searched.
        """
        rank, similarity = np.zeros(len(person), np.int64), np.full(len(person), -np.inf)
        rank[searched] = np.where(mated[searched], ranks(candidates, person[searched]), 0)
        similarity[searched] = candidates.similarity[:, 0]
        return cls(mated, rank, similarity, people)

    @property
    def hit(self) -> NDArray[np.float64]:
        """(mated probes,) similarity of the mate where it is the most similar person, else -inf."""
        return np.where(self.rank == 1, self.similarity, -np.inf)[self.mated]

    @property
    def alarm(self) -> NDArray[np.float64]:
        """(non-mated probes,) similarity of the most similar person, which a threshold must exceed."""
        return self.similarity[~self.mated]


@dataclass(frozen=True)
class Cmc:
    """Cumulative match characteristic.

    Attributes:
        found: (ranks,) mated probes whose mate is among the first 1, 2 ... people.
        mated: number of mated probes.
        people: how many people were searched.
    """

    found: NDArray[np.int64]
    mated: int
    people: int

    @property
    def rate(self) -> NDArray[np.float64]:
        """(ranks,) as shares of the mated probes."""
        return self.found / self.mated

    def at(self, rank: int) -> float | None:
        """The rate at a rank; None where the gallery has no more people, and finding one is certain."""
        return float(self.rate[rank - 1]) if rank <= len(self.found) and rank < self.people else None

    def interval(self, rank: int) -> tuple[float, float]:
        """See `INTERVAL_RULE`."""
        return wilson_interval(int(self.found[rank - 1]), self.mated)


@dataclass(frozen=True)
class IdentificationPoint:
    """A threshold and what it does to the searches that it was read from.

    Attributes:
        threshold: somebody is named from this similarity on.
        false_positives, non_mated: searches of strangers that name somebody, and all of them.
        hits, mated: searches that name the right person, and all with a mate.
    """

    threshold: float
    false_positives: int
    non_mated: int
    hits: int
    mated: int

    @property
    def fpir(self) -> float:
        """False positive identification rate."""
        return self.false_positives / self.non_mated

    @property
    def tpir(self) -> float:
        """True positive identification rate."""
        return self.hits / self.mated

    @property
    def fnir(self) -> float:
        """False negative identification rate."""
        return 1 - self.tpir

    @property
    def fpir_interval(self) -> tuple[float, float]:
        """See `INTERVAL_RULE`."""
        return wilson_interval(self.false_positives, self.non_mated)

    @property
    def tpir_interval(self) -> tuple[float, float]:
        """See `INTERVAL_RULE`."""
        return wilson_interval(self.hits, self.mated)


@dataclass(frozen=True)
class OpenSetCurve:
    """What each distinct similarity does as a threshold: the identification DET.

    Attributes:
        thresholds: (points,) falling; the first lies just above every similarity and names nobody.
        hits: (points,) mated searches that name the right person.
        false_positives: (points,) non-mated searches that name somebody.
        mated, non_mated: number of searches.
    """

    thresholds: NDArray[np.float64]
    hits: NDArray[np.int64]
    false_positives: NDArray[np.int64]
    mated: int
    non_mated: int

    def point(self, index: int) -> IdentificationPoint:
        """The operating point at `thresholds[index]`."""
        return IdentificationPoint(
            float(self.thresholds[index]),
            int(self.false_positives[index]),
            self.non_mated,
            int(self.hits[index]),
            self.mated,
        )

    def at_fpir(self, fpir: float) -> IdentificationPoint:
        """The operating point with the most hits at an FPIR of at most `fpir`: see `THRESHOLD_RULE`.

        Raises:
            InputError: fewer than 1 / fpir non-mated searches.
        """
        if not resolves(fpir, self.non_mated):
            raise InputError(
                "fpir",
                f"must be resolvable: {fpir:g} needs at least {math.ceil(1 / fpir - 1e-9):,} searches of "
                "strangers",
                got=f"{self.non_mated:,}",
                fix="Ask for a larger rate, or search more people who are not in the gallery.",
            )
        allowed = math.floor(fpir * self.non_mated + 1e-9)
        return self.point(int(np.searchsorted(self.false_positives, allowed, side="right")) - 1)


@dataclass(frozen=True)
class IdentificationMetrics:
    """All numbers of a set of searches.

    Attributes:
        searches: how each probe fared.
        cmc: over the mated probes.
        curve: hits and false positives at every threshold; None without a non-mated probe.
        tpir_at_fpir: target FPIR -> operating point; None where too few non-mated probes resolve it.
    """

    searches: Searches
    cmc: Cmc
    curve: OpenSetCurve | None
    tpir_at_fpir: dict[float, IdentificationPoint | None]

    @classmethod
    def of(cls, searches: Searches) -> IdentificationMetrics:
        """Measure; raises as `cmc_of` does."""
        mated, non_mated = int(searches.mated.sum()), int((~searches.mated).sum())
        curve = open_set_curve(searches.hit, searches.alarm) if non_mated and mated else None
        return cls(
            searches,
            cmc_of(searches),
            curve,
            {
                fpir: curve.at_fpir(fpir) if curve is not None and resolves(fpir, non_mated) else None
                for fpir in TARGET_FPIRS
            },
        )


def ranks(candidates: Candidates, person: NDArray[np.int64]) -> NDArray[np.int64]:
    """(probes,) place of each probe's person; 0 where it is not among the first `MOST_RANKS` people.

    Others who are as similar as the mate come before it: a model to which all look alike finds nobody.

    Args:
        candidates: of `MOST_RANKS` + 1 people or of all, so that equals beyond the last rank are seen.
        person: (probes,) who each shows.
    """
    is_mate = candidates.person == person[:, None]
    mate = np.where(is_mate, candidates.similarity, -np.inf).max(axis=1, initial=-np.inf)
    before = ((candidates.similarity >= mate[:, None]) & ~is_mate).sum(axis=1)
    return np.where(is_mate.any(axis=1) & (before < MOST_RANKS), before + 1, 0)


def cmc_of(searches: Searches) -> Cmc:
    """The CMC of the mated probes, up to `MOST_RANKS` or to the number of people.

    Raises:
        InputError: no probe is mated.
    """
    mated = int(searches.mated.sum())
    if not mated:
        raise InputError(
            "probes",
            "must show people of the gallery",
            got=f"{counted(len(searches.mated), 'probe')} of strangers",
            fix="Give probes the identities that the gallery's list has.",
        )
    last = min(MOST_RANKS, searches.people)
    at_rank = np.bincount(searches.rank[searches.mated], minlength=MOST_RANKS + 1)
    return Cmc(np.cumsum(at_rank[1 : last + 1]), mated, searches.people)


def open_set_curve(hit: NDArray[np.float64], alarm: NDArray[np.float64]) -> OpenSetCurve:
    """Hits and false positives at every threshold.

    Args:
        hit: (mated,) similarity from which down the right person is named; -inf: at none.
        alarm: (non_mated,) similarity from which down somebody is named; -inf: at none.
    """
    known = np.unique(np.concatenate([hit, alarm]))
    known = known[np.isfinite(known)][::-1]
    above = np.nextafter(known[0] if len(known) else 1.0, np.inf)
    thresholds = np.append(above, known)
    return OpenSetCurve(
        thresholds,
        len(hit) - np.searchsorted(np.sort(hit), thresholds),
        len(alarm) - np.searchsorted(np.sort(alarm), thresholds),
        len(hit),
        len(alarm),
    )
