"""What decides how a protocol is run, beside model, data and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from data_prep.errors import InputError


class Score(StrEnum):
    """How alike two embeddings are."""

    COSINE = "cosine"
    PCA_MAHALANOBIS = "pca-mahalanobis"


def refuse_unfitted_score(score: Score, fit: Path | None, *, subtract_mean: bool) -> None:
    """Stop where the options of a score do not fit together.

    Raises:
        InputError: photos to fit on without a score that needs them, or the reverse; or a mean to subtract,
            on which a distance does not depend.
    """
    if score is Score.COSINE and fit is not None:
        fix = f"Add --score {Score.PCA_MAHALANOBIS.value}, or leave --fit out."
        raise InputError("--fit", "is for a score that is fitted", got="--score cosine", fix=fix)
    if score is Score.PCA_MAHALANOBIS and fit is None:
        fix = "Add --fit with the aligned photos that the model was trained on."
        raise InputError("--score", f"{score.value} must be fitted on photos", got="no --fit", fix=fix)
    if score is Score.PCA_MAHALANOBIS and subtract_mean:
        fix = "Leave --subtract-mean out: a distance does not depend on the mean."
        raise InputError("--subtract-mean", "is for cosines", got=f"--score {score.value}", fix=fix)


@dataclass(frozen=True, kw_only=True)
class VerificationOptions:
    """The choices of a verification, which stand beside its numbers.

    Attributes:
        flip: average each embedding with that of the mirrored crop.
        subtract_mean: subtract, for each fold, the mean embedding of all other folds' photos.
        fit: aligned training photos to fit PCA and Mahalanobis distance on; None: the cosine.
        allow_partial: run the pairs that are there of a protocol that is not whole, and say so everywhere.
        groups: columns by whose values the error rates are split: see `find_groupings`.
        attributes: a file with more such columns; None: none.
        quality: measure the errors over discarded pairs of low quality.
        far: false accept rate of all pairs whose threshold these errors are measured at; None: `chosen_far`.
        least_quality: measure -> the least value that both photos of a pair must have: see `ALL_MEASURES`.
    """

    flip: bool
    subtract_mean: bool = False
    fit: Path | None = None
    allow_partial: bool = False
    groups: tuple[str, ...] = ()
    attributes: Path | None = None
    quality: bool = False
    far: float | None = None
    least_quality: Mapping[str, float] = field(default_factory=dict)


def refuse_unused_options(options: VerificationOptions, suite: Path | None) -> None:
    """Stop where an option has nothing to work on.

    Raises:
        InputError: groups or qualities of a suite, which compares whole lists; or an option of these alone.
    """
    of_one = {
        "--groups": options.groups,
        "--quality": options.quality,
        "--min-quality": options.least_quality,
    }
    for name, value in of_one.items():
        if suite is not None and value:
            fix = "Run verify once for each list, with --protocol."
            raise InputError(name, "is for one protocol", got=f"--suite {suite}", fix=fix)
    if options.attributes is not None and not options.groups:
        fix = "Add --groups COLUMN, or leave --attributes out."
        raise InputError("--attributes", "is for --groups", got="no --groups", fix=fix)
    if options.far is not None and not options.groups and not options.quality:
        fix = "Add --groups COLUMN or --quality, or leave --far out."
        raise InputError("--far", "is for --groups and --quality", got="neither", fix=fix)
