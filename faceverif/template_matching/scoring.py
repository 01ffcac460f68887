"""Cosine similarity of millions of pairs of IJB templates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_prep.ijb import TemplatePairs
from data_prep.progress import progress

_ROWS = 4096  # that are gathered at a time: 8 MB of 512 numbers, which the processor's cache holds


def template_scores(unit: NDArray[np.float32], pairs: TemplatePairs) -> NDArray[np.float32]:
    """(pairs,) cosine similarity in float32.

    The pairs are taken by their left IJB template: its row stays in the cache, and only the right ones are
    gathered.

    Args:
        unit: (templates, dim) unit vectors, or zero ones, whose similarity is 0.
        pairs: of their numbers.
    """
    scores = np.empty(len(pairs), np.float32)
    order = np.argsort(pairs.left, kind="stable")
    left = pairs.left[order]
    starts = np.flatnonzero(np.diff(left, prepend=-1))
    with progress("score", total=len(pairs), unit="pairs") as advance:
        for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
            one = unit[left[start]]
            for first in range(start, stop, _ROWS):
                some = order[first : min(first + _ROWS, stop)]
                scores[some] = unit[pairs.right[some]] @ one
            advance(int(stop - start), "")
    return np.clip(scores, -1, 1, out=scores)


def with_certain_errors(
    scores: NDArray[np.float32], pairs: TemplatePairs, without_crop: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The scores, where pairs with an IJB template without a crop, (templates,), are surely wrong."""
    lost = np.flatnonzero(pairs.with_any(without_crop))
    scores[lost] = np.where(pairs.same[lost], np.float32(-1), np.float32(1))
    return scores
