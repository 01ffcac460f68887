"""What came out of comparing IJB templates: numbers with their counts, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator
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
from data_prep.ijb import TemplateProtocol
from faceverif.intervals import wilson_interval
from faceverif.report.numbers import percent
from faceverif.template_matching.options import Pooling
from faceverif.template_matching.photos import FALLBACK_RULE, PooledPhotos
from faceverif.verification.embeddings import FLIP_RULE
from faceverif.verification.result import ModelFacts, made_with
from faceverif.verification.roc import EER_POINT_RULE, TAR_RULE, OperatingPoint, RocNumbers

INTERVAL_RULE = (
    "95 % Wilson interval of the genuine pairs at that threshold; it takes pairs as independent, but pairs "
    "share IJB templates, so the true interval is wider"
)
_AT_ONCE = 2**20  # rows of the table of scores


@dataclass(frozen=True)
class TemplateResult:
    """A comparison of IJB templates, whole.

    Attributes:
        protocol: the pairs.
        numbers: everything measured.
        scores: (pairs,) similarity.
        photos: what the photos contributed.
        dataset: where the crops are.
        model: which model.
        flip: whether embeddings were averaged with those of the mirrored crops.
        pooling: what a photo counts.
        seconds: pooling, scoring and measuring; and embedding, where that was not done before.
        versions: of the tools.
        git_commit: of the code that compared; None outside a checkout.
        warnings: why the numbers may mean nothing, in words.
    """

    protocol: TemplateProtocol
    numbers: RocNumbers
    scores: NDArray[np.float32]
    photos: PooledPhotos
    dataset: AlignedDataset
    model: ModelFacts
    flip: bool
    pooling: Pooling
    seconds: float
    versions: dict[str, str]
    git_commit: str | None
    warnings: tuple[str, ...]

    @cached_property
    def fallback(self) -> NDArray[np.bool_]:
        """(pairs,) True where one of the IJB templates has no photo with a detected face."""
        return self.protocol.pairs.with_any(self.photos.without_face | self.photos.without_crop)

    def text(self) -> str:
        """A few lines for a terminal."""
        roc, size, header = self.numbers.roc, self.protocol.size, self.dataset.header
        flip = "flip-averaged" if self.flip else "no flip"
        faceless = int((self.photos.without_face | self.photos.without_crop).sum())
        return printable_lines(
            [
                f"{self.protocol.title}: {roc.genuine:,} genuine and {roc.impostors:,} impostor pairs of "
                f"{size.templates:,} IJB templates, {size.photos:,} photos",
                f"pooling     {self.pooling.value}, {flip}",
                *self._tar_lines(),
                f"EER         {percent(self.numbers.eer.equal_error)} % at {self.numbers.eer.threshold:.4f}; "
                f"AUC {percent(self.numbers.auc, digits=3)} %",
                f"no face     {counted(self.photos.no_face + self.photos.failed, 'photo')}, "
                f"{counted(faceless, 'whole IJB template')}, {counted(self.fallback.sum(), 'pair')}",
                f"model       {self.model.name}, {self.model.sha256[:12]}  ({self.model.preprocessing})",
                f"training    {exclusions_text(self.model.exclusions)}",
                f"data        {self.dataset.root}, {self.dataset.sha256[:12]}  "
                f"({header.template}, {header.policy})",
                *(f"warning     {warning}" for warning in self.warnings),
            ]
        )

    def tables(self) -> Iterator[pa.Table]:
        """One row per pair: left, right, same, score, fallback; a million rows at a time."""
        pairs, ids = self.protocol.pairs, self.protocol.photos.ids
        called = ids.astype(np.int32) if ids[-1] < 2**31 else ids
        for start in range(0, len(pairs), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            yield pa.table(
                {
                    "left": called[pairs.left[part]],
                    "right": called[pairs.right[part]],
                    "same": pairs.same[part],
                    "score": self.scores[part],
                    "fallback": self.fallback[part],
                }
            )

    def as_json(self) -> dict[str, Any]:
        """Everything but the scores, JSON-able; rates are fractions."""
        return self._measured() | self._counts() | self._rules() | self._sources()

    def _tar_lines(self) -> Iterator[str]:
        name = "TAR at FAR"
        for far, point in self.numbers.tar_at_far.items():
            text = "too few impostor pairs"
            if point is not None:
                low, high = self._interval(point)
                text = (
                    f"{percent(point.tar)} % ({percent(low)} to {percent(high)} %) from "
                    f"{point.threshold:.4f} on; {counted(point.false_accepts, 'false accept')}"
                )
            yield f"{name:<12}{far:g}: {text}"
            name = ""

    def _interval(self, point: OperatingPoint) -> tuple[float, float]:
        return wilson_interval(self.numbers.roc.genuine - point.false_rejects, self.numbers.roc.genuine)

    def _measured(self) -> dict[str, Any]:
        eer = self.numbers.eer
        points = {f"{far:g}": point for far, point in self.numbers.tar_at_far.items()}
        return {
            "protocol": self.protocol.name,
            "partial": self.protocol.partial,
            "warnings": list(self.warnings),
            "auc": self.numbers.auc,
            "eer": eer.equal_error,
            "eer_point": {"threshold": eer.threshold, "far": eer.far, "frr": eer.frr},
            "tar_at_far": {far: None if point is None else point.tar for far, point in points.items()},
            "threshold_at_far": {
                far: None if point is None else point.threshold for far, point in points.items()
            },
            "false_accepts_at_far": {
                far: None if point is None else point.false_accepts for far, point in points.items()
            },
            "tar_interval_at_far": {
                far: None if point is None else self._interval(point) for far, point in points.items()
            },
        }

    def _counts(self) -> dict[str, Any]:
        size, photos = self.protocol.size, self.photos
        return {
            "pairs": len(self.protocol.pairs),
            "genuine_pairs": size.genuine,
            "impostor_pairs": size.impostors,
            "templates": size.templates,
            "media": len(np.unique(self.protocol.photos.medium)),
            "photos": size.photos,
            "photos_without_face": photos.no_face,
            "photos_without_crop": photos.failed,
            "templates_without_face": int(photos.without_face.sum()),
            "templates_without_crop": int(photos.without_crop.sum()),
            "fallback_pairs": int(self.fallback.sum()),
        }

    def _rules(self) -> dict[str, Any]:
        return {
            "similarity": "cosine",
            "pooling": self.pooling.value,
            "pooling_rule": self.pooling.rule,
            "flip": self.flip,
            "flip_rule": FLIP_RULE if self.flip else "none",
            "protocol_reading": self.protocol.reading,
            "eer_rule": EER_POINT_RULE,
            "tar_rule": TAR_RULE,
            "interval_rule": INTERVAL_RULE,
            "fallback_rule": FALLBACK_RULE,
        }

    def _sources(self) -> dict[str, Any]:
        return made_with(self.model, self.dataset) | {
            "detector": self.dataset.header.detector,
            "protocol_sha256": self.protocol.sha256,
            "versions": self.versions,
            "git_commit": self.git_commit,
            "seconds": round(self.seconds, 3),
        }
