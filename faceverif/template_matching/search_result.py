"""What the searches of IJB's galleries found: the numbers of each, their means, where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_prep.dataset.exclusions import exclusions_text
from data_prep.errors import printable_lines
from data_prep.ijb import SearchProtocol
from faceverif.identification import metrics as rules
from faceverif.identification.metrics import RANKS, TARGET_FPIRS, IdentificationMetrics
from faceverif.identification.result import point_json
from faceverif.report.numbers import percent
from faceverif.template_matching.task import SearchTask
from faceverif.verification.embeddings import FLIP_RULE
from faceverif.verification.result import ModelFacts, made_with

MEAN_RULE = "the mean of both galleries, as the field reports it; each gallery has a threshold of its own"
FALLBACK_RULE = (
    "a photo without a detected face counts only where no photo of its IJB template has one; an IJB template "
    "of which no photo could be read is not searched and not enrolled: its mated searches are misses, a "
    "stranger's names nobody"
)


@dataclass(frozen=True)
class GallerySearch:
    """The probes in one gallery.

    Attributes:
        metrics: everything measured.
        best: (probes,) the number of the most similar IJB template of the gallery; -1 for a probe that could
            not be searched.
    """

    metrics: IdentificationMetrics
    best: NDArray[np.int64]


@dataclass(frozen=True)
class SearchResult:
    """Searches of both galleries, whole.

    Attributes:
        task: what was searched, and how photos were pooled.
        galleries: G1 and G2 -> what was found there.
        model: which model.
        seconds: all of it; embedding too, where that was not done before.
        versions: of the tools.
        git_commit: of the code; None outside a checkout.
        warnings: why the numbers may mean nothing, in words.
    """

    task: SearchTask
    galleries: Mapping[str, GallerySearch]
    model: ModelFacts
    seconds: float
    versions: dict[str, str]
    git_commit: str | None
    warnings: tuple[str, ...]

    @property
    def protocol(self) -> SearchProtocol:
        """Galleries and probes."""
        return self.task.protocol

    def mean_at_rank(self, rank: int) -> float | None:
        """See `MEAN_RULE`; None where a gallery has no more people."""
        return self._mean(lambda metrics: metrics.cmc.at(rank))

    def mean_at_fpir(self, fpir: float) -> float | None:
        """The mean TPIR; None where the probes of a gallery do not resolve it."""

        def tpir(metrics: IdentificationMetrics) -> float | None:
            point = metrics.tpir_at_fpir[fpir]
            return None if point is None else point.tpir

        return self._mean(tpir)

    def text(self) -> str:
        """A few lines for a terminal."""
        task, header = self.task, self.task.dataset.header
        return printable_lines(
            [
                f"{self.protocol.title}: {self.protocol.reading}",
                f"pooling     {task.pooling.value}, {'flip-averaged' if task.flip else 'no flip'}",
                *(self._line(name) for name in self.galleries),
                self._mean_line(),
                f"model       {self.model.name}, {self.model.sha256[:12]}  ({self.model.preprocessing})",
                f"training    {exclusions_text(self.model.exclusions)}",
                f"data        {task.dataset.root}, {task.dataset.sha256[:12]}  "
                f"({header.template}, {header.policy})",
                *(f"warning     {warning}" for warning in self.warnings),
            ]
        )

    def table(self, name: str) -> pa.Table:
        """One row per probe of a gallery: probe, subject, mated, rank, found, similarity."""
        found, ids, probes = self.galleries[name], self.protocol.photos.ids, self.protocol.probes
        searches, there = found.metrics.searches, found.best >= 0
        return pa.table(
            {
                "probe": ids[probes.template],
                "subject": probes.subject,
                "mated": searches.mated,
                "rank": pa.array(searches.rank, mask=searches.rank == 0),
                "found": pa.array(ids[np.where(there, found.best, 0)], mask=~there),
                "similarity": pa.array(np.where(there, searches.similarity, 0), mask=~there),
            }
        )

    def as_json(self) -> dict[str, Any]:
        """Everything but what each probe found, JSON-able; rates are fractions."""
        photos = self.task.photos
        return {
            "protocol": self.protocol.name,
            "partial": self.protocol.partial,
            "warnings": list(self.warnings),
            "mean_rank": {f"{rank}": self.mean_at_rank(rank) for rank in RANKS},
            "mean_tpir_at_fpir": {f"{fpir:g}": self.mean_at_fpir(fpir) for fpir in TARGET_FPIRS},
            "galleries": {name: _gallery_json(each.metrics) for name, each in self.galleries.items()},
            "probes": len(self.protocol.probes),
            "photos": len(self.protocol.photos),
            "photos_without_face": photos.no_face,
            "photos_without_crop": photos.failed,
            "templates_without_face": int(photos.without_face.sum()),
            "templates_without_crop": int(photos.without_crop.sum()),
            "protocol_reading": self.protocol.reading,
            "pooling": self.task.pooling.value,
            "pooling_rule": self.task.pooling.rule,
            "flip": self.task.flip,
            "flip_rule": FLIP_RULE if self.task.flip else "none",
            "mean_rule": MEAN_RULE,
            "rank_rule": rules.CMC_RULE,
            "open_set_rule": rules.OPEN_SET_RULE,
            "threshold_rule": rules.THRESHOLD_RULE,
            "interval_rule": rules.INTERVAL_RULE,
            "fallback_rule": FALLBACK_RULE,
            **made_with(self.model, self.task.dataset),
            "detector": self.task.dataset.header.detector,
            "protocol_sha256": self.protocol.sha256,
            "versions": self.versions,
            "git_commit": self.git_commit,
            "seconds": round(self.seconds, 3),
        }

    def _mean(self, of: Callable[[IdentificationMetrics], float | None]) -> float | None:
        values = [of(each.metrics) for each in self.galleries.values()]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None

    def _line(self, name: str) -> str:
        metrics = self.galleries[name].metrics
        people, strangers = metrics.cmc.people, int((~metrics.searches.mated).sum())
        parts = [f"rank {rank} {_percent(metrics.cmc.at(rank))}" for rank in RANKS]
        parts += [
            f"TPIR {_percent(None if point is None else point.tpir)} at FPIR {fpir:g}"
            for fpir, point in metrics.tpir_at_fpir.items()
        ]
        return (
            f"{name:<12}{', '.join(parts)}; {metrics.cmc.mated:,} mated probes and {strangers:,} of "
            f"strangers among {people:,} people"
        )

    def _mean_line(self) -> str:
        parts: Iterator[str] = (f"rank {rank} {_percent(self.mean_at_rank(rank))}" for rank in RANKS)
        open_set = (f"TPIR {_percent(self.mean_at_fpir(fpir))} at FPIR {fpir:g}" for fpir in TARGET_FPIRS)
        return f"{'mean':<12}{', '.join([*parts, *open_set])}"


def _percent(rate: float | None) -> str:
    return "not measured" if rate is None else f"{percent(rate)} %"


def _gallery_json(metrics: IdentificationMetrics) -> dict[str, Any]:
    cmc = metrics.cmc
    return {
        "people": cmc.people,
        "mated_probes": cmc.mated,
        "non_mated_probes": int((~metrics.searches.mated).sum()),
        "rank": {f"{rank}": cmc.at(rank) for rank in RANKS},
        "rank_interval": {
            f"{rank}": None if cmc.at(rank) is None else list(cmc.interval(rank)) for rank in RANKS
        },
        "cmc": cmc.rate.tolist(),
        "tpir_at_fpir": {
            f"{fpir:g}": None if point is None else point_json(point)
            for fpir, point in metrics.tpir_at_fpir.items()
        },
    }
