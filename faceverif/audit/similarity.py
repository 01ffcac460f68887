"""Cosine similarities between many unit vectors, block by block, so that memory does not grow with pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.device import computing_device
from data_prep.progress import progress

_ROWS, _COLUMNS = 1024, 8192  # of a block: 32 MB


class Pairs(NamedTuple):
    """Pairs of vectors, most similar first.

    Attributes:
        left: (pairs,) rows of the first set.
        right: (pairs,) rows of the second, or of the same one.
        scores: (pairs,) cosine similarity.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    scores: NDArray[np.float32]

    def rows(self) -> Iterator[tuple[int, int, float]]:
        """Left, right and score of one pair after the other."""
        return zip(self.left.tolist(), self.right.tolist(), self.scores.tolist(), strict=True)


def pairs_within(count: int) -> int:
    """Number of pairs in a set of `count`, each counted once."""
    return count * (count - 1) // 2


def pairs_from(
    threshold: float, left: NDArray[np.float32], right: NDArray[np.float32] | None = None
) -> Pairs:
    """Every pair whose similarity is the threshold or more.

    Args:
        threshold: high enough that the pairs found fit in memory.
        left: (n, dim) unit vectors.
        right: (m, dim); None: the pairs within `left`, each once.
    """
    found = [
        (row + i, column + j, block[i, j])
        for row, column, block in _blocks(left, right)
        for i, j in [np.nonzero(block >= threshold)]
    ]
    rows, columns, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(-scores, kind="stable")
    return Pairs(rows[order], columns[order], scores[order])


def largest_within(count: int, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The `count` largest similarities of a set's pairs, in falling order; all, if there are fewer."""
    kept = np.empty(0, dtype=np.float32)
    floor = np.float32(-np.inf)
    for _, _, block in _blocks(vectors, None):
        kept = np.concatenate([kept, block[(block > floor) & (block > -np.inf)]])
        if len(kept) > count:
            kept = np.partition(kept, -count)[-count:]
            floor = kept.min()
    return np.sort(kept)[::-1]


def nearest_other(
    vectors: NDArray[np.float32], centres: NDArray[np.float32], own: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each vector the most similar centre except its own.

    Args:
        vectors: (n, dim) unit vectors.
        centres: (m, dim), m >= 2.
        own: (n,) which centre is its own.

    Returns:
        (n,) which centre, and (n,) its similarity.
    """
    nearest = np.zeros(len(vectors), dtype=np.int64)
    scores = np.full(len(vectors), -np.inf, dtype=np.float32)
    for row, column, block in _blocks(vectors, centres):
        rows = np.arange(row, row + len(block))
        mine = own[rows] - column
        inside = np.flatnonzero((mine >= 0) & (mine < block.shape[1]))
        block[inside, mine[inside]] = -np.inf
        best = block.argmax(axis=1)
        better = block[np.arange(len(block)), best] > scores[rows]
        nearest[rows[better]] = column + best[better]
        scores[rows[better]] = block[better, best[better]]
    return nearest, scores


def _blocks(
    left: NDArray[np.float32], right: NDArray[np.float32] | None
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """(first row, first column, similarities); within one set, entries that repeat a pair are -inf."""
    others = left if right is None else right
    with progress("compare", total=len(left), unit="rows") as advance:
        for row in range(0, len(left), _ROWS):
            part = left[row : row + _ROWS]
            # Within a set the blocks left of the diagonal hold each pair a second time.
            for column in range(row // _COLUMNS * _COLUMNS if right is None else 0, len(others), _COLUMNS):
                block = _products(part, others[column : column + _COLUMNS])
                if right is None:
                    height, width = block.shape
                    block[np.tri(height, width, row - column, dtype=bool)] = -np.inf
                yield row, column, block
            advance(len(part), "")


def _products(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every row of one times every row of the other, on this process's device."""
    device = computing_device()
    if device.type == "cpu":
        return left @ right.T
    on_device = [torch.from_numpy(np.ascontiguousarray(side)).to(device) for side in (left, right)]
    return (on_device[0] @ on_device[1].T).cpu().numpy()
