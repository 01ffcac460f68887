"""What a protocol run found: every number with its protocol, counts, rules and hashes."""

from __future__ import annotations

from collections.abc import Mapping
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
from data_prep.protocols import VerificationProtocol
from faceverif.models import Embedder
from faceverif.report.numbers import percent
from faceverif.verification.embeddings import FLIP_RULE
from faceverif.verification.groups.rates import GroupRates
from faceverif.verification.metrics import EER_RULE, THRESHOLD_RULE, VerificationMetrics
from faceverif.verification.quality.discard import DiscardReport
from faceverif.verification.roc import TAR_RULE
from faceverif.verification.scoring import MEAN_RULE, NO_CROP_RULE, NO_FACE_RULE, PairPhotos

# What a result repeats of its model's provenance: enough to know the training when its run is gone.
_TRAINING = ("seed", "config_sha256", "git_commit", "versions", "data", "start_from", "integrity")


@dataclass(frozen=True)
class ModelFacts:
    """Which model was verified.

    Attributes:
        name: run or file.
        sha256: of its weights, or of its file.
        device: where it computed.
        preprocessing: what happens to the pixels.
        input_px: side of its input.
        training: seed, config, code and data of its training; None for a model from elsewhere.
        exclusions: the list that its training left out; None: there was none; a text where it is unknown.
    """

    name: str
    sha256: str
    device: str
    preprocessing: str
    input_px: int
    training: dict[str, Any] | None
    exclusions: Mapping[str, Any] | str | None

    @classmethod
    def of(cls, embedder: Embedder) -> ModelFacts:
        """What an embedder says of itself."""
        known = {key: embedder.provenance[key] for key in _TRAINING if key in embedder.provenance}
        return cls(
            embedder.name,
            embedder.sha256,
            embedder.device,
            embedder.preprocessing,
            embedder.spec.input_px,
            known or None,
            embedder.exclusions,
        )


@dataclass(frozen=True)
class VerificationResult:
    """A verification, whole: numbers, scores, and where they come from. Rates are fractions.

    Attributes:
        protocol: the pairs and their folds.
        metrics: everything measured.
        photos: the photos behind the pairs.
        dataset: where the crops are.
        model: which model.
        flip: whether embeddings were averaged with those of the mirrored crops.
        subtract_mean: whether the mean embedding of the other folds was subtracted.
        similarity: by which pairs are scored: cosine, or pca-mahalanobis.
        similarity_rule: how, in words.
        seconds: embedding and scoring.
        versions: of the tools.
        git_commit: of the code that verified; None outside a checkout.
        warnings: why the numbers may mean nothing, in words.
        groups: error rates by each column that was asked for.
        discard: errors over discarded pairs of low quality; None where it was not asked for.
    """

    protocol: VerificationProtocol
    metrics: VerificationMetrics
    photos: PairPhotos
    dataset: AlignedDataset
    model: ModelFacts
    flip: bool
    subtract_mean: bool
    similarity: str
    similarity_rule: str
    seconds: float
    versions: dict[str, str]
    git_commit: str | None
    warnings: tuple[str, ...]
    groups: tuple[GroupRates, ...] = ()
    discard: DiscardReport | None = None

    @property
    def accuracy(self) -> float:
        """Mean accuracy of the scored folds."""
        return self.metrics.folds.mean

    @property
    def accuracy_se(self) -> float:
        """Its standard error; `metrics.folds.standard_error_rule` says which."""
        return self.metrics.folds.standard_error

    @property
    def auc(self) -> float:
        """Area under the ROC of the pooled scores."""
        return self.metrics.auc

    @property
    def eer(self) -> float:
        """Equal error rate of the pooled scores."""
        return self.metrics.eer.equal_error

    @property
    def scores(self) -> NDArray[np.float64]:
        """(pairs,) similarity, higher = more alike; also of folds that are not scored."""
        return self.metrics.pooled

    @cached_property
    def fallback(self) -> NDArray[np.bool_]:
        """(pairs,) True where a face was not found in either photo."""
        return self.photos.pairs_with(self.photos.no_face | self.photos.no_crop)

    @property
    def accuracy_fallback_as_errors(self) -> float:
        """Mean accuracy of the scored folds when every pair with a missing face counts as an error."""
        right = self.metrics.folds.correct & ~self.fallback
        return float(
            np.mean([right[self.protocol.fold == fold].mean() for fold in self.protocol.scored_folds])
        )

    @property
    def flags(self) -> str:
        """The choices without which no number stands, in words."""
        flip = "flip-averaged" if self.flip else "no flip"
        return f"{flip}, {'mean subtracted' if self.subtract_mean else 'no mean subtraction'}"

    def text(self) -> str:
        """A few lines for a terminal."""
        roc, photos, header = self.metrics.roc, self.photos, self.dataset.header
        missing = int((photos.no_face | photos.no_crop).sum())
        return printable_lines(
            [
                f"{self.protocol.title}: {roc.genuine:,} genuine and {roc.impostors:,} impostor pairs; "
                f"{self.protocol.fold_rule}",
                f"list        {self.protocol.reading}",
                f"accuracy    {percent(self.accuracy)} +- {percent(self.accuracy_se)} %  ({self.flags})",
                f"EER         {percent(self.eer)} % at {self.metrics.eer.threshold:.4f}; "
                f"AUC {percent(self.auc, digits=3)} %",
                f"TAR at FAR  {self._tar_text()}",
                f"no face     {missing:,} of {len(photos.rows):,} photos, "
                f"{counted(self.fallback.sum(), 'pair')}; "
                f"with those as errors {percent(self.accuracy_fallback_as_errors)} %",
                f"model       {self.model.name}, {self.model.sha256[:12]}  ({self.model.preprocessing})",
                f"training    {exclusions_text(self.model.exclusions)}",
                f"data        {self.dataset.root}, {self.dataset.sha256[:12]}  "
                f"({header.template}, {header.policy})",
                *(f"warning     {warning}" for warning in self.warnings),
                *(line for rates in self.groups for line in rates.lines()),
                *(self.discard.lines() if self.discard else ()),
            ]
        )

    def _tar_text(self) -> str:
        points = self.metrics.tar_at_far.items()
        known = ", ".join(f"{percent(point.tar)} % at {far:g}" for far, point in points if point is not None)
        refused = ", ".join(f"{far:g}" for far, point in points if point is None)
        unresolved = f"not at {refused}: too few impostor pairs" if refused else ""
        return "; ".join(part for part in (known, unresolved) if part)

    def table(self) -> pa.Table:
        """One row per pair: left, right, same, fold, scored, score, fallback."""
        return pa.table(
            {
                "left": list(self.protocol.left),
                "right": list(self.protocol.right),
                "same": self.protocol.same,
                "fold": self.protocol.fold,
                "scored": self.protocol.scored,
                "score": self.scores,
                "fallback": self.fallback,
            }
        )

    def as_json(self) -> dict[str, Any]:
        """Everything but the scores, JSON-able; rates are fractions."""
        return self._numbers() | self._pair_counts() | self._further() | self._rules() | self._sources()

    def _numbers(self) -> dict[str, Any]:
        folds, eer = self.metrics.folds, self.metrics.eer
        points = {f"{far:g}": point for far, point in self.metrics.tar_at_far.items()}
        return {
            "protocol": self.protocol.name,
            "partial": self.protocol.partial,
            "warnings": list(self.warnings),
            "accuracy": self.accuracy,
            "accuracy_se": self.accuracy_se,
            "accuracy_fallback_as_errors": self.accuracy_fallback_as_errors,
            "auc": self.auc,
            "eer": self.eer,
            "eer_point": {"threshold": eer.threshold, "far": eer.far, "frr": eer.frr},
            "tar_at_far": {far: None if point is None else point.tar for far, point in points.items()},
            "threshold_at_far": {
                far: None if point is None else point.threshold for far, point in points.items()
            },
            "folds": [
                {
                    "fold": int(fold),
                    "accuracy": float(accuracy),
                    "threshold": float(threshold),
                    "pairs": int(pairs),
                }
                for fold, accuracy, threshold, pairs in zip(
                    folds.folds, folds.accuracies, folds.thresholds, folds.pairs, strict=True
                )
            ],
        }

    def _pair_counts(self) -> dict[str, Any]:
        scored, photos = self.protocol.scored, self.photos
        return {
            "pairs": int(scored.sum()),
            "genuine_pairs": self.metrics.roc.genuine,
            "impostor_pairs": self.metrics.roc.impostors,
            "threshold_only_pairs": int((~scored).sum()),
            "photos": len(photos.rows),
            "fallback_faces": int(photos.no_face.sum()),
            "photos_without_crop": int(photos.no_crop.sum()),
            "fallback_pairs": int((self.fallback & scored).sum()),
        }

    def _further(self) -> dict[str, Any]:
        """What was measured because it was asked for."""
        groups = {"groups": [rates.as_json() for rates in self.groups]} if self.groups else {}
        return groups | ({"discard": self.discard.as_json()} if self.discard else {})

    def _rules(self) -> dict[str, Any]:
        return {
            "similarity": self.similarity,
            "similarity_rule": self.similarity_rule,
            "flip": self.flip,
            "flip_rule": FLIP_RULE if self.flip else "none",
            "mean_subtraction": self.subtract_mean,
            "mean_rule": MEAN_RULE if self.subtract_mean else "none",
            "protocol_reading": self.protocol.reading,
            "fold_rule": self.protocol.fold_rule,
            "threshold_rule": THRESHOLD_RULE,
            "accuracy_se_rule": self.metrics.folds.standard_error_rule,
            "eer_rule": EER_RULE,
            "tar_rule": TAR_RULE,
            "fallback_rule": f"{NO_FACE_RULE}; {NO_CROP_RULE}",
        }

    def _sources(self) -> dict[str, Any]:
        return made_with(self.model, self.dataset) | {
            "protocol_sha256": self.protocol.sha256,
            "versions": self.versions,
            "git_commit": self.git_commit,
            "seconds": round(self.seconds, 3),
        }


def made_with(model: ModelFacts, dataset: AlignedDataset) -> dict[str, Any]:
    """What every result says of its model and its crops, JSON-able."""
    header = dataset.header
    return {
        "model": model.name,
        "model_sha256": model.sha256,
        "device": model.device,
        "preprocessing": model.preprocessing,
        "input_px": model.input_px,
        "training": model.training,
        "training_exclusions": model.exclusions,
        "data": str(dataset.root),
        "data_sha256": dataset.sha256,
        "template": header.template,
        "template_sha256": header.template_sha256,
        "policy": header.policy,
        "colour_order": header.colour_order,
        "min_face_px": header.min_face_px,
        "data_versions": header.versions,
    }
