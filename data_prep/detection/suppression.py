"""Non-maximum suppression for many groups of boxes at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PAIRS = 2**18  # that are compared at once: 40 MB


def survivors(
    group: NDArray[np.int64], boxes: NDArray[np.float32], scores: NDArray[np.float32], *, iou: float
) -> NDArray[np.int64]:
    """The boxes that stay: no better box of their group that stays overlaps them by more than `iou`.

    torchvision's `nms` gives the same boxes, but takes one group at a time, and importing torchvision takes
    as long as importing PyTorch.

    Args:
        group: (n,) of each box.
        boxes: (n, 4) x1, y1, x2, y2.
        scores: (n,); of equal ones the first is the better.
        iou: intersection over union, in [0, 1].

    Returns:
        Indices, group by group, the best first.
    """
    order = np.lexsort((-scores, group))
    better, worse = _overlapping(group[order], boxes[order], iou=iou)
    stays = np.ones(len(order), bool)
    while True:  # each turn settles at least the next best box of every group
        now = np.ones_like(stays)
        now[worse[stays[better]]] = False
        if (now == stays).all():
            return order[stays]
        stays = now


def _overlapping(
    group: NDArray[np.int64], boxes: NDArray[np.float32], *, iou: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of all pairs of a group that overlap by more than `iou`; boxes are sorted by group and score."""
    places = np.arange(len(group))
    followers = np.searchsorted(group, group, side="right") - places - 1
    cuts = np.flatnonzero(np.diff(followers.cumsum() // _PAIRS)) + 1
    found = [(places[:0], places[:0])]
    for part in np.split(places, cuts):
        better = part.repeat(followers[part])
        ends = followers[part].cumsum()
        worse = better + 1 + np.arange(len(better)) - (ends - followers[part]).repeat(followers[part])
        overlap = _iou(boxes[better], boxes[worse]) > np.float64(iou)
        found.append((better[overlap], worse[overlap]))
    return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    overlap = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0).prod(axis=1)
    with np.errstate(invalid="ignore"):  # of two boxes without an area
        return overlap / (_area(a) + _area(b) - overlap)


def _area(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
