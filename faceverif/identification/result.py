"""What the searches of a protocol found: every number with its lists, counts, rules and hashes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.dataset.exclusions import exclusions_text
from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import printable_lines
from data_prep.protocols.identification import IdentificationProtocol
from data_prep.protocols.identification.base import People
from faceverif.identification import metrics as rules
from faceverif.identification.listed import NO_CROP_RULE, ListedPhotos
from faceverif.identification.metrics import RANKS, IdentificationMetrics, IdentificationPoint
from faceverif.identification.search import PERSON_RULE
from faceverif.report.numbers import percent
from faceverif.verification.embeddings import FLIP_RULE
from faceverif.verification.result import ModelFacts, made_with
from faceverif.verification.scoring import NO_FACE_RULE


@dataclass(frozen=True)
class IdentificationResult:
    """Searches, whole: numbers, what each probe found, and where they come from.

    Attributes:
        protocol: the gallery and the probes.
        people: who their photos show.
        gallery, probes: their photos in the data set.
        best: (probes,) the gallery photo that is most similar to each, as a position in the list; -1 for a
            probe that could not be searched.
        metrics: everything measured.
        dataset: where the crops are.
        model: which model.
        flip: whether embeddings were averaged with those of the mirrored crops.
        seconds: embedding and searching; and searching alone.
        versions: of the tools.
        git_commit: of the code that searched; None outside a checkout.
        warnings: why the numbers may mean nothing, in words.
    """

    protocol: IdentificationProtocol
    people: People
    gallery: ListedPhotos
    probes: ListedPhotos
    best: NDArray[np.int64]
    metrics: IdentificationMetrics
    dataset: AlignedDataset
    model: ModelFacts
    flip: bool
    seconds: tuple[float, float]
    versions: dict[str, str]
    git_commit: str | None
    warnings: tuple[str, ...]

    @cached_property
    def fallback(self) -> NDArray[np.bool_]:
        """(probes,) True where no face was found on the probe, or on any gallery photo of its person."""
        seen = np.zeros(len(self.people.names), bool)
        seen[self.people.gallery[self.gallery.with_face]] = True
        mated = self.people.probes >= 0
        return ~self.probes.with_face | (mated & ~seen[self.people.probes])

    @property
    def rank1(self) -> float:
        """Share of the mated probes whose mate is the most similar person."""
        return float(self.metrics.cmc.rate[0])

    @property
    def rank1_fallback_as_misses(self) -> float:
        """The same when every probe with a missing face counts as a miss."""
        searches = self.metrics.searches
        return float(((searches.rank == 1) & ~self.fallback)[searches.mated].mean())

    def sentence(self) -> str:
        """The answer, for a terminal and a page."""
        cmc = self.metrics.cmc
        first = (
            f"{percent(self.rank1)} % of {counted(cmc.mated, 'probe')} find their person first among "
            f"{counted(cmc.people, 'person')}"
        )
        known = [(target, point) for target, point in self.metrics.tpir_at_fpir.items() if point is not None]
        if not known:
            return f"{first}."
        target, point = known[-1]
        return (
            f"{first}; {percent(point.tpir)} % are identified at a threshold that names somebody for at most "
            f"{100 * target:g} % of the strangers."
        )

    def text(self) -> str:
        """A few lines for a terminal."""
        counts, header = self.counts(), self.dataset.header
        missing = counts["probes_without_face"] + counts["probes_without_crop"]
        faceless = counts["gallery_without_face"] + counts["gallery_without_crop"]
        return printable_lines(
            [
                f"{self.protocol.title}: {counted(counts['mated_probes'], 'mated probe')} and "
                f"{counts['non_mated_probes']:,} of strangers, in a gallery of "
                f"{counted(counts['people'], 'person')} and {counted(counts['gallery_photos'], 'photo')}",
                f"lists       {self.protocol.reading}",
                f"rank        {self._ranks_text()}",
                *(f"open set    {line}" for line in self._open_set_lines()),
                f"no face     {missing:,} of {len(self.probes.rows):,} probes, "
                f"{counted(faceless, 'gallery photo')}; "
                f"with those as misses rank 1 {percent(self.rank1_fallback_as_misses)} %",
                f"search      {self.seconds[1]:.1f} s; {PERSON_RULE}; "
                f"{'flip-averaged' if self.flip else 'no flip'}",
                f"model       {self.model.name}, {self.model.sha256[:12]}  ({self.model.preprocessing})",
                f"training    {exclusions_text(self.model.exclusions)}",
                f"data        {self.dataset.root}, {self.dataset.sha256[:12]}  "
                f"({header.template}, {header.policy})",
                *(f"warning     {warning}" for warning in self.warnings),
            ]
        )

    def _ranks_text(self) -> str:
        cmc = self.metrics.cmc
        known = []
        for rank in RANKS:
            if cmc.at(rank) is not None:
                low, high = cmc.interval(rank)
                rate = percent(float(cmc.rate[rank - 1]))
                known.append(f"{rank}: {rate} % ({percent(low)} to {percent(high)})")
        return "; ".join(known) or f"no rank says anything in a gallery of {counted(cmc.people, 'person')}"

    def _open_set_lines(self) -> list[str]:
        count = int((~self.metrics.searches.mated).sum())
        if not count:
            return ["not measured: no probe shows a stranger"]
        lines = []
        for target, point in self.metrics.tpir_at_fpir.items():
            if point is None:
                lines.append(f"FPIR {target:g} is not resolved by {counted(count, 'probe')} of strangers")
                continue
            low, high = point.tpir_interval
            below, above = point.fpir_interval
            lines.append(
                f"TPIR {percent(point.tpir)} % ({percent(low)} to {percent(high)}) at FPIR {target:g} "
                f"(measured {percent(point.fpir)} %, {percent(below)} to {percent(above)}), "
                f"threshold {point.threshold:.4f}"
            )
        return lines

    def table(self) -> pa.Table:
        """One row per probe: probe, identity, mated, rank, person, gallery_photo, similarity, fallback."""
        searches, found = self.metrics.searches, self.best >= 0
        listed = self.protocol.gallery
        return pa.table(
            {
                "probe": list(self.protocol.probes.photos),
                "identity": [name or None for name in self.protocol.probes.identities],
                "mated": searches.mated,
                "rank": pa.array(searches.rank, mask=searches.rank == 0),
                "person": [listed.identities[at] or None if at >= 0 else None for at in self.best.tolist()],
                "gallery_photo": [listed.photos[at] if at >= 0 else None for at in self.best.tolist()],
                "similarity": pa.array(np.where(found, searches.similarity, 0), mask=~found),
                "fallback": self.fallback,
            }
        )

    def counts(self) -> dict[str, int]:
        """How many people and photos there are, and how many failed."""
        searches = self.metrics.searches
        return {
            "people": searches.people,
            "gallery_people": len(self.people.names),
            "gallery_photos": len(self.gallery.rows),
            "distractors": self.people.names.count(""),
            "probes": len(self.probes.rows),
            "mated_probes": int(searches.mated.sum()),
            "mated_people": len(np.unique(self.people.probes[searches.mated])),
            "non_mated_probes": int((~searches.mated).sum()),
            "probes_without_face": int(self.probes.no_face.sum()),
            "probes_without_crop": int(self.probes.no_crop.sum()),
            "gallery_without_face": int(self.gallery.no_face.sum()),
            "gallery_without_crop": int(self.gallery.no_crop.sum()),
        }

    def as_json(self) -> dict[str, Any]:
        """Everything but what each probe found, JSON-able; rates are fractions."""
        cmc = self.metrics.cmc
        return {
            "protocol": self.protocol.name,
            "partial": self.protocol.partial,
            "warnings": list(self.warnings),
            "answer": self.sentence(),
            "rank": {f"{rank}": cmc.at(rank) for rank in RANKS},
            "rank_interval": {
                f"{rank}": None if cmc.at(rank) is None else list(cmc.interval(rank)) for rank in RANKS
            },
            "rank1_fallback_as_misses": self.rank1_fallback_as_misses,
            "cmc": cmc.rate.tolist(),
            "tpir_at_fpir": {
                f"{target:g}": None if point is None else point_json(point)
                for target, point in self.metrics.tpir_at_fpir.items()
            },
            **self.counts(),
            **self._rules(),
            **made_with(self.model, self.dataset),
            "protocol_sha256": self.protocol.sha256,
            "versions": self.versions,
            "git_commit": self.git_commit,
            "seconds": round(self.seconds[0], 3),
            "search_seconds": round(self.seconds[1], 3),
        }

    def _rules(self) -> dict[str, str | bool]:
        return {
            "flip": self.flip,
            "flip_rule": FLIP_RULE if self.flip else "none",
            "protocol_reading": self.protocol.reading,
            "person_rule": PERSON_RULE,
            "rank_rule": rules.CMC_RULE,
            "open_set_rule": rules.OPEN_SET_RULE,
            "threshold_rule": rules.THRESHOLD_RULE,
            "interval_rule": rules.INTERVAL_RULE,
            "fallback_rule": f"{NO_FACE_RULE}; {NO_CROP_RULE}",
        }


def point_json(point: IdentificationPoint) -> dict[str, Any]:
    """An operating point as results have it, JSON-able."""
    return {
        "tpir": point.tpir,
        "tpir_interval": list(point.tpir_interval),
        "threshold": point.threshold,
        "fpir": point.fpir,
        "fpir_interval": list(point.fpir_interval),
        "false_positives": point.false_positives,
        "hits": point.hits,
    }
