"""Cosine similarities of many unit vectors, block by block, so that memory does not grow with pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.progress import progress
from faceverif.audit.cells import (
    LARGEST_EXACT,
    PER_CELL,
    PROBES,
    by_own_cell,
    compared_in_cells,
    nearest_cells,
)
from faceverif.audit.vector_file import reordered
from faceverif.similarities import COLUMNS, ROWS, alike, products


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

    Within a set of more than a million, pairs are looked for in cells, which misses some: see `cells`.

    Args:
        threshold: high enough that the pairs found fit in memory.
        left: (n, dim) unit vectors.
        right: (m, dim); None: the pairs within `left`, each once.

    Raises:
        InputError: the set is that large, and faiss is not installed.
    """
    if right is None and len(left) > LARGEST_EXACT:
        return pairs_in_cells(threshold, left, cells=len(left) // PER_CELL, probes=PROBES)
    found = []
    for row, column, part, others in _tiles(left, right):
        rows, columns, scores = alike(part, others, threshold)
        once = np.full(len(rows), True) if right is not None else row + rows < column + columns
        found.append((row + rows[once], column + columns[once], scores[once]))
    return _falling(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def pairs_in_cells(threshold: float, vectors: NDArray[np.float32], *, cells: int, probes: int) -> Pairs:
    """The pairs within a set that share a cell and whose similarity is the threshold or more, each once.

    Args:
        threshold: as for `pairs_from`.
        vectors: (n, dim) unit vectors.
        cells: number of cells.
        probes: nearest cells that each vector is compared in.

    Raises:
        InputError: faiss is not installed.
    """
    near = nearest_cells(vectors, cells=cells, probes=min(probes, cells))
    order = by_own_cell(near)
    near = near[order]
    with reordered(vectors, order) as ordered:
        found = pairs_among(threshold, ordered, compared_in_cells(near))
    left, right = np.sort([order[found.left], order[found.right]], axis=0)
    return _falling(left, right, found.scores)


def pairs_among(
    threshold: float,
    vectors: NDArray[np.float32],
    compared: Iterable[tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]],
) -> Pairs:
    """The pairs among those compared whose similarity is the threshold or more, each once.

    Args:
        threshold: as for `pairs_from`.
        vectors: (n, dim) unit vectors.
        compared: rows of `vectors`, each of the first with each of the second; as by `compared_in_cells`.
    """
    found: list[NDArray[np.int64]] = [np.empty((0, 2), np.int64)]
    scores: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
    for visitors, members in compared:
        own = vectors[members]
        for start in range(0, len(visitors), COLUMNS):
            part = visitors[start : start + COLUMNS]
            rows, columns, found_scores = alike(vectors[part], own, threshold)
            ends = np.stack([part[rows], members[columns]], axis=1)
            different = ends[:, 0] != ends[:, 1]
            found.append(np.sort(ends[different], axis=1))
            scores.append(found_scores[different])
    pairs, once = np.unique(np.concatenate(found), axis=0, return_index=True)
    return _falling(pairs[:, 0], pairs[:, 1], np.concatenate(scores)[once])


def _falling(left: NDArray[np.int64], right: NDArray[np.int64], scores: NDArray[np.float32]) -> Pairs:
    order = np.lexsort((right, left, -scores))
    return Pairs(left[order], right[order], scores[order])


def largest_within(count: int, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The `count` largest similarities of a set's pairs, in falling order; all, if there are fewer.

    Args:
        count: >= 1.
        vectors: (n, dim) unit vectors.
    """
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


def _tiles(
    left: NDArray[np.float32], right: NDArray[np.float32] | None
) -> Iterator[tuple[int, int, NDArray[np.float32], NDArray[np.float32]]]:
    """(first row, first column, some vectors, others); within one set, each pair is in one of them."""
    others = left if right is None else right
    with progress("compare", total=len(left), unit="rows") as advance:
        for row in range(0, len(left), ROWS):
            part = left[row : row + ROWS]
            # Within a set the blocks left of the diagonal hold each pair a second time.
            for column in range(row // COLUMNS * COLUMNS if right is None else 0, len(others), COLUMNS):
                yield row, column, part, others[column : column + COLUMNS]
            advance(len(part), "")


def _blocks(
    left: NDArray[np.float32], right: NDArray[np.float32] | None
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """(first row, first column, similarities); within one set, entries that repeat a pair are -inf."""
    for row, column, part, others in _tiles(left, right):
        block = products(part, others)
        if right is None:
            height, width = block.shape
            block[np.tri(height, width, row - column, dtype=bool)] = -np.inf
        yield row, column, block
