"""Vectors of a large set, which lie in a file: written part by part, and brought into another order."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.atomic import unfinished
from data_prep.progress import progress
from data_prep.system_errors import naming_full_disk

_ROWS = 65_536  # read at a time
_BUCKET_MB, _MOST_BUCKETS = 256, 256


def write_vectors(
    path: Path, shape: tuple[int, int], parts: Iterable[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Write an .npy file and open it: its rows are read where they are used.

    It is not written through mapped memory: there a full disk ends the process without an error.

    Args:
        path: the file.
        shape: (n, dim).
        parts: its rows, one part after the other.
    """
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with naming_full_disk(path), path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, "<f4").data)
    return np.asanyarray(np.load(path, mmap_mode="r"))


def _for_single_rows(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Open such a file for reading single rows: without this advice the system reads 128 KB around each."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped.madvise(mmap.MADV_RANDOM)
    header = len(mapped) - 4 * shape[0] * shape[1]
    return np.frombuffer(mapped, "<f4", offset=header).reshape(shape)


@contextmanager
def reordered(vectors: NDArray[np.float32], order: NDArray[np.integer[Any]]) -> Iterator[NDArray[np.float32]]:
    """`vectors[order]`; for vectors in a file, a second file beside it, which is removed at the end.

    Rows that are used together should lie together. Where a file is larger than the memory, each row that
    lies alone costs a read of its own.

    Args:
        vectors: (n, dim).
        order: (n,) each row once.
    """
    if not isinstance(vectors, np.memmap):
        yield vectors[order]
        return
    beside = Path(str(vectors.filename))
    with unfinished(beside.with_name("reordered.npy"), folder=False) as path:
        with unfinished(beside.with_name("buckets"), folder=True) as buckets:
            write_vectors(path, vectors.shape, _parts_in_order(vectors, order, buckets))
        yield _for_single_rows(path, vectors.shape)


def _parts_in_order(
    vectors: NDArray[np.float32], order: NDArray[np.integer[Any]], folder: Path
) -> Iterator[NDArray[np.float32]]:
    """The rows in their new order, by reading and writing long stretches only.

    One pass over the rows spreads them over buckets, files that each hold one stretch of the new order. Each
    bucket then fits in memory.
    """
    count, dim = vectors.shape
    size = max(1, (_BUCKET_MB << 20) // (4 * dim), -(-count // _MOST_BUCKETS))
    paths = [folder / f"{number:03}" for number in range(-(-count // size))]
    bucket_of = np.empty(count, np.int16)
    bucket_of[order] = np.arange(count, dtype=order.dtype) // size
    with ExitStack() as files, progress("reorder", total=count, unit="rows") as advance:
        buckets = [files.enter_context(path.open("wb")) for path in paths]
        for start in range(0, count, _ROWS):
            part, numbers = vectors[start : start + _ROWS], bucket_of[start : start + _ROWS]
            for number in np.unique(numbers):
                buckets[number].write(part[numbers == number].data)
            advance(len(part), "")
    for number, path in enumerate(paths):
        wanted = order[number * size : (number + 1) * size]
        rows = np.fromfile(path, np.float32).reshape(-1, dim)  # in their old order
        path.unlink()
        yield rows[np.searchsorted(np.sort(wanted), wanted)]
