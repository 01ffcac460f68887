"""Pairs whose photos have a least quality; what is left is a part of the protocol and is called so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.errors import InputError
from data_prep.protocols import VerificationProtocol
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.quality.measures import pair_quality
from faceverif.verification.quality.names import OPTION, least_text
from faceverif.verification.scoring import PairPhotos

_FEWEST = 2  # of each kind, for a threshold


def pairs_of_quality(
    protocol: VerificationProtocol, photos: PairPhotos, embedded: EmbeddedPhotos, least: Mapping[str, float]
) -> VerificationProtocol:
    """The pairs both of whose photos have the least quality; `partial` counts what was left out.

    A photo of which a measure is not known does not have it.

    Args:
        protocol: the pairs.
        photos: of these pairs.
        embedded: a model on them.
        least: measure -> its least value.

    Raises:
        InputError: too few are left to choose a threshold.
    """
    qualities = pair_quality(photos, embedded, least)
    kept = np.ones(len(protocol), dtype=bool)
    for name, value in least.items():
        kept &= qualities[name] >= value  # False where it is NaN
    genuine, impostors = int((kept & protocol.same).sum()), int((kept & ~protocol.same).sum())
    if min(genuine, impostors) < _FEWEST:
        raise InputError(
            OPTION,
            f"must leave at least {_FEWEST} genuine and {_FEWEST} impostor pairs",
            got=f"{genuine:,} and {impostors:,} with {least_text(dict(least))}",
            fix=f"Lower it: {'; '.join(_median_text(name, values) for name, values in qualities.items())}.",
        )
    if kept.all():
        return protocol
    part = protocol.part(kept)
    lost = int(protocol.same.sum()) - genuine, int((~protocol.same).sum()) - impostors
    left_out = f"left out {lost[0]:,} genuine and {counted(lost[1], 'impostor pair')}"
    return replace(part, partial=f"{part.partial}; {left_out} without {least_text(dict(least))}")


def _median_text(name: str, values: NDArray[np.float64]) -> str:
    known = values[np.isfinite(values)]
    return f"half of the pairs have {name} {np.median(known):.4g}" if len(known) else f"no pair has a {name}"
