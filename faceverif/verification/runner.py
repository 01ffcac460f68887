"""A protocol on a model: embed each photo once, score every pair, measure, and write it all down."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.atomic import files_whole, refuse_file
from data_prep.dataset.packed import load_aligned
from data_prep.json_object import write_json
from data_prep.lock import filled
from data_prep.protocols import VerificationProtocol, protocol_on
from faceverif.file_names import FIGURES_NAME, RESULT_NAME
from faceverif.models import Embedder
from faceverif.provenance import git_commit, result_versions
from faceverif.verification.breakdown import with_breakdown
from faceverif.verification.collapse import collapse_warning, different_photos
from faceverif.verification.earlier_result import refuse_other_result
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.files import PAIRS_NAME, SCORES_NAME
from faceverif.verification.groups.grouping import find_groupings
from faceverif.verification.hardest import write_hardest_pairs
from faceverif.verification.mahalanobis import FittedMahalanobis
from faceverif.verification.metrics import measure
from faceverif.verification.options import Score, VerificationOptions
from faceverif.verification.quality.least import pairs_of_quality
from faceverif.verification.result import ModelFacts, VerificationResult
from faceverif.verification.scoring import (
    PairPhotos,
    cosine_scores,
    mean_subtracted_scores,
    normalised,
    with_certain_errors,
)
from faceverif.verification.seen_photos import seen_warning

COMMAND = "faceverif verify"  # for the message to a second process that fills the same folder


def evaluate(
    embedded: EmbeddedPhotos,
    protocol: VerificationProtocol,
    *,
    subtract_mean: bool,
    found: PairPhotos | None = None,
    fitted: FittedMahalanobis | None = None,
) -> VerificationResult:
    """Run a protocol in memory, without writing anything.

    Args:
        embedded: a model on aligned crops of every photo that the protocol names.
        protocol: the pairs.
        subtract_mean: subtract, for each fold, the mean embedding of all other folds' photos.
        found: the photos of the pairs, where they were looked up before.
        fitted: scores by that distance instead of the cosine.

    Raises:
        InputError: photos are missing from the data set.
    """
    start = time.monotonic()
    embedder, dataset = embedded.embedder, embedded.dataset
    photos = found or PairPhotos.of(protocol, dataset)
    raw = photos.embed(embedded)
    scores = _scores(photos, raw, protocol, subtract_mean=subtract_mean, fitted=fitted)
    scores = with_certain_errors(scores, protocol.same, photos.readable_pairs)
    seen = photos.with_crop
    collapsed = collapse_warning(embedder, embedded.of(seen[different_photos(dataset, seen)]))
    return VerificationResult(
        protocol=protocol,
        metrics=measure(scores, protocol.same, protocol.fold, scored_folds=protocol.scored_folds),
        photos=photos,
        dataset=dataset,
        model=ModelFacts.of(embedder),
        flip=embedded.flip,
        subtract_mean=subtract_mean,
        similarity=(Score.COSINE if fitted is None else Score.PCA_MAHALANOBIS).value,
        similarity_rule="cosine similarity" if fitted is None else fitted.rule,
        seconds=time.monotonic() - start,
        versions=result_versions(),
        git_commit=git_commit(),
        warnings=tuple(filter(None, [collapsed, seen_warning(embedder, dataset, seen)])),
    )


def _scores(
    photos: PairPhotos,
    raw: NDArray[np.float64],
    protocol: VerificationProtocol,
    *,
    subtract_mean: bool,
    fitted: FittedMahalanobis | None,
) -> NDArray[np.float64]:
    """(pairs,), or (scored folds, pairs) of `subtract_mean`: how alike raw embeddings, (photos, dim), are."""
    if fitted is not None:
        return fitted.scores(photos, raw)
    if subtract_mean:
        return mean_subtracted_scores(photos, normalised(raw), protocol)
    return cosine_scores(photos, normalised(raw))


def verify(
    embedder: Embedder, data: Path, protocol: Path, *, out: Path, options: VerificationOptions
) -> VerificationResult:
    """Run a protocol and write result, scores, figures and report into a folder.

    Args:
        embedder: the model.
        data: an aligned folder.
        protocol: a pair file that `protocol_alone` knows.
        out: the folder for `result.json`, `scores.parquet`, `report.html` and `figures/`.
        options: how it is run.

    Raises:
        InputError: the template differs, photos are missing from the data set, a column of groups cannot be
            used, too few pairs have the least quality, or `out` is a file, holds another result, cannot be
            written, or is in use.
    """
    refuse_file(out)
    dataset = load_aligned(data)
    pairs = protocol_on(protocol, dataset, allow_partial=options.allow_partial)
    refuse_other_result(out, embedder, dataset, pairs)
    embedded = EmbeddedPhotos(embedder, dataset, flip=options.flip)
    found = PairPhotos.of(pairs, dataset)
    if options.least_quality:
        pairs = pairs_of_quality(pairs, found, embedded, options.least_quality)
        found = PairPhotos.of(pairs, dataset)
    groupings = find_groupings(options.groups, pairs, dataset, options.attributes)
    with filled(out, command=COMMAND):
        fitted = fitted_score(embedder, options)
        result = evaluate(embedded, pairs, subtract_mean=options.subtract_mean, found=found, fitted=fitted)
        result = with_breakdown(result, groupings, embedded, options)
        write_result(result, out)
    return result


def fitted_score(embedder: Embedder, options: VerificationOptions) -> FittedMahalanobis | None:
    """The distance fitted on the photos that the options name; None where they ask for the cosine.

    Raises:
        InputError: no such data set, one cut for another model, or too few photos in it.
    """
    if options.fit is None:
        return None
    return FittedMahalanobis.fit(EmbeddedPhotos(embedder, load_aligned(options.fit), flip=options.flip))


def write_result(result: VerificationResult, out: Path) -> None:
    """Write a verification's files into a folder: scores, figures, numbers, and the report made of them."""
    from faceverif.report.run_page import write_verification_report  # brings matplotlib

    with files_whole(out) as files:
        pq.write_table(result.table(), files / SCORES_NAME)
        write_hardest_pairs(result, files / FIGURES_NAME / PAIRS_NAME)
        write_json(files / RESULT_NAME, result.as_json())
        write_verification_report(files)
