"""What is measured of a verification on demand: error rates of groups, and errors over discarded pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.groups.grouping import Grouping
from faceverif.verification.groups.rates import group_rates
from faceverif.verification.options import VerificationOptions
from faceverif.verification.quality.discard import discard_report
from faceverif.verification.quality.measures import pair_quality
from faceverif.verification.quality.names import ALL_MEASURES
from faceverif.verification.result import VerificationResult
from faceverif.verification.roc import chosen_far, tar_at_far


def with_breakdown(
    result: VerificationResult,
    groupings: Sequence[Grouping],
    embedded: EmbeddedPhotos,
    options: VerificationOptions,
) -> VerificationResult:
    """A verification with the error rates of groups and over discarded pairs, where they were asked for.

    Both are of the scored pairs, at the threshold of all of them.

    Args:
        result: of the pairs.
        groupings: of these pairs.
        embedded: the model on their photos.
        options: what was asked for.

    Raises:
        InputError: too few impostor pairs resolve the false accept rate, or a crop cannot be read.
    """
    if not groupings and not options.quality:
        return result
    scored, roc = result.protocol.scored, result.metrics.roc
    scores, same = result.scores[scored], result.protocol.same[scored]
    target = chosen_far(options.far, roc.impostors)
    point = tar_at_far(roc, target)
    own = [replace(grouping, group=grouping.group[scored]) for grouping in groupings]
    groups = tuple(group_rates(scores, same, grouping, point=point, target=target) for grouping in own)
    if not options.quality:
        return replace(result, groups=groups)
    found = pair_quality(result.photos, embedded, ALL_MEASURES)
    quality = {name: values[scored] for name, values in found.items()}
    discard = discard_report(quality, scores, same, point=point, target=target)
    return replace(result, groups=groups, discard=discard)
