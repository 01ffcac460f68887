"""Cosine similarity of millions of pairs of IJB templates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_prep.ijb import TemplatePairs
from data_prep.progress import progress
from faceverif.similarities import products

_LEFT = 32  # templates of a block: a matrix product costs no more than gathering, even if few pairs share one


def template_scores(unit: NDArray[np.float32], pairs: TemplatePairs) -> NDArray[np.float32]:
    """(pairs,) cosine similarity in float32.

    IJB's lists pair few left templates with many right ones. So a block of left ones is multiplied with every
    template that stands to their right in a pair, and the pairs are picked from the product.

    Args:
        unit: (templates, dim) unit vectors, or zero ones, whose similarity is 0.
        pairs: of their numbers.
    """
    scores = np.empty(len(pairs), np.float32)
    order = np.argsort(pairs.left, kind="stable")
    lefts, starts = np.unique(pairs.left[order], return_index=True)
    starts = np.append(starts, len(order))
    with progress("score", total=len(pairs), unit="pairs") as advance:
        for first in range(0, len(lefts), _LEFT):
            block = lefts[first : first + _LEFT]
            bounds = starts[first : first + len(block) + 1]
            some = order[bounds[0] : bounds[-1]]
            rights, column = np.unique(pairs.right[some], return_inverse=True)
            row = np.repeat(np.arange(len(block)), np.diff(bounds))
            scores[some] = products(unit[block], unit[rights])[row, column]
            advance(len(some), "")
    return np.clip(scores, -1, 1, out=scores)


def with_certain_errors(
    scores: NDArray[np.float32], pairs: TemplatePairs, without_crop: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The scores, where pairs with an IJB template without a crop, (templates,), are surely wrong."""
    lost = np.flatnonzero(pairs.with_any(without_crop))
    scores[lost] = np.where(pairs.same[lost], np.float32(-1), np.float32(1))
    return scores
