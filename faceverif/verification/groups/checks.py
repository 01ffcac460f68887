"""What of groups can be refused before a model is loaded."""

from __future__ import annotations

from pathlib import Path

from data_prep.dataset.packed import load_aligned
from data_prep.protocols import protocol_on
from faceverif.verification.groups.grouping import find_groupings
from faceverif.verification.options import VerificationOptions
from faceverif.verification.roc import chosen_far


def refuse_unfit_groups(data: Path, protocol: Path, options: VerificationOptions) -> None:
    """Refuse columns and a rate that the pairs cannot have.

    Raises:
        InputError: see `find_groupings` and `chosen_far`; or photos are missing from the data set.
    """
    dataset = load_aligned(data)
    pairs = protocol_on(protocol, dataset, allow_partial=options.allow_partial)
    find_groupings(options.groups, pairs, dataset, options.attributes)
    chosen_far(options.far, int((pairs.scored & ~pairs.same).sum()))
