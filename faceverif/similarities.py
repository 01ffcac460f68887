"""Cosine similarities of unit vectors in blocks, computed on this process's device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.device import computing_device

ROWS, COLUMNS = 1024, 4096  # of a block: 16 MB; memory of larger ones goes back to the system every time


def products(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """(rows, columns) every row of one times every row of the other."""
    if computing_device().type == "cpu":
        return left @ right.T
    return _on_device(left, right).cpu().numpy()


def alike(
    left: NDArray[np.float32], right: NDArray[np.float32], threshold: float | NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Row, column and similarity of the pairs from the threshold on; nothing else leaves the device.

    Args:
        left: (rows, dim) unit vectors.
        right: (columns, dim).
        threshold: one for all pairs, or (rows,).
    """
    limit = np.asarray(threshold, np.float32).reshape(-1, 1)
    if computing_device().type == "cpu":
        block = left @ right.T
        rows, columns = np.divmod(np.flatnonzero(block >= limit), block.shape[1])
        return rows, columns, block[rows, columns]
    there = _on_device(left, right)
    found = (there >= torch.from_numpy(limit).to(there.device)).nonzero()
    scores = there[found[:, 0], found[:, 1]].cpu().numpy()
    rows, columns = found.cpu().numpy().T
    return rows, columns, scores


def _on_device(left: NDArray[np.float32], right: NDArray[np.float32]) -> Tensor:
    device = computing_device()
    sides = [torch.from_numpy(np.ascontiguousarray(side)).to(device) for side in (left, right)]
    return sides[0] @ sides[1].T
