"""What of groups can be refused before a model is loaded."""

from __future__ import annotations

from pathlib import Path

from data_prep.dataset.packed import load_aligned
from data_prep.protocols import load_protocol, pairs_within
from faceverif.verification.groups.grouping import find_groupings
from faceverif.verification.metrics import chosen_far
from faceverif.verification.options import VerificationOptions


def refuse_unfit_groups(data: Path, protocol: Path, options: VerificationOptions) -> None:
    """Refuse columns and a rate that the pairs cannot have.

    Raises:
        InputError: see `find_groupings` and `chosen_far`; or photos are missing from the data set.
    """
    dataset, pairs = load_aligned(data), load_protocol(protocol, allow_partial=options.allow_partial)
    if options.allow_partial:
        pairs = pairs_within(pairs, dataset)
    find_groupings(options.groups, pairs, dataset, options.attributes)
    chosen_far(options.far, int((pairs.scored & ~pairs.same).sum()))
