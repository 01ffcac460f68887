"""Similar pairs of a large set, without comparing every pair: vectors are compared within cells.

k-means cuts the sphere into cells. A vector is compared with those whose own cell is among its nearest ones.
The comparison is exact; a pair that lies in no common cell is missed. docs/results/scale.md has the
share that is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from data_prep.errors import InputError
from data_prep.progress import progress

LARGEST_EXACT = 1_000_000  # vectors; from here on all pairs would take days on a processor
PER_CELL, PROBES = 2000, 8
_SAMPLED = 64  # vectors per cell that k-means sees
_GROUPS = 8  # of cells, in which a vector's nearest cells are looked for
_ROWS = 65_536


def by_own_cell(near: NDArray[np.int32]) -> NDArray[np.integer[Any]]:
    """The rows of `near`, (n,), in an order in which those of a cell follow each other.

    Cells with neighbouring numbers are mostly near each other, so what a cell is compared with follows soon.
    """
    return _grouped(near[:, :1], int(near.max()) + 1)[0]


def compared_in_cells(
    near: NDArray[np.int32],
) -> Iterator[tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]]:
    """Which vectors are to be compared: some of a cell, and others that come near it or lie in it.

    Args:
        near: (n, probes) by `nearest_cells`.

    Yields:
        (visitors,) and (members,) rows of `near`, both rising; a pair may come twice.
    """
    cells = int(near.max()) + 1
    members, begins = _grouped(near[:, :1], cells)
    visitors, first = _grouped(near, cells)
    with progress("compare", total=cells, unit="cells") as advance:
        for cell in range(cells):
            yield visitors[first[cell] : first[cell + 1]], members[begins[cell] : begins[cell + 1]]
            advance(1, "")


def _grouped(
    near: NDArray[np.int32], cells: int
) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
    """Rows sorted by cell, and where those of each cell begin, with the end of the last.

    A sparse matrix does this by counting: an argsort takes ten times as long and twice the memory.
    """
    number = np.int32 if near.size < 2**31 else np.int64
    ends = np.arange(0, near.size + 1, near.shape[1], dtype=number)
    is_near = np.ones(near.size, bool), near.ravel(), ends
    by_cell = csr_array(is_near, shape=(len(near), cells)).tocsc()
    return by_cell.indices, by_cell.indptr


def nearest_cells(vectors: NDArray[np.float32], *, cells: int, probes: int) -> NDArray[np.int32]:
    """The cells of each vector, the nearest first; a column repeats the first where no more are near.

    Cells lie in groups, and a vector is compared with the cells of its nearest groups. With all cells, the
    time would grow with the square of the vectors, because their number grows with them.

    Args:
        vectors: (n, dim) unit vectors.
        cells: about how many there shall be.
        probes: how many of them for each vector.

    Returns:
        (n, probes) numbers of cells, from 0.

    Raises:
        InputError: faiss is not installed.
    """
    index = _grouped_means(vectors, cells)
    near = np.empty((len(vectors), probes), np.int32)
    with progress("sort into cells", total=len(vectors), unit="rows") as advance:
        for start in range(0, len(vectors), _ROWS):
            part = np.ascontiguousarray(vectors[start : start + _ROWS])
            found = index.search(part, probes)[1]
            near[start : start + len(part)] = np.where(found < 0, found[:, :1], found)
            advance(len(part), "")
    return near


def _grouped_means(vectors: NDArray[np.float32], cells: int) -> Any:
    """The means of the cells, as an index of faiss that looks into the nearest groups of them."""
    faiss, dim = _faiss(), vectors.shape[1]
    drawn = np.random.default_rng(0).choice(len(vectors), min(len(vectors), _SAMPLED * cells), replace=False)
    few = np.ascontiguousarray(vectors[np.sort(drawn)])
    groups = max(1, round(cells**0.5 / 2))
    group = _k_means(few, groups).index.search(few, 1)[1][:, 0]
    shares = [few[group == number] for number in range(groups)]
    means = [
        _k_means(share, max(1, round(cells * len(share) / len(few)))).centroids
        for share in shares
        if len(share)
    ]
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, groups, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid, index.cp.seed = 1, 0
    index.train(np.concatenate(means))
    index.add(np.concatenate(means))
    index.nprobe = min(_GROUPS, groups)
    return index


def _k_means(vectors: NDArray[np.float32], count: int) -> Any:
    dim = vectors.shape[1]
    means = _faiss().Kmeans(
        dim, min(count, len(vectors)), niter=10, spherical=True, seed=0, min_points_per_centroid=1
    )
    means.train(vectors)
    return means


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            "TRAIN",
            f"more than {LARGEST_EXACT:,} photos are compared in cells, which needs faiss",
            got="no faiss",
            fix="pip install 'faceverif[scale]'",
        ) from error
    return faiss
