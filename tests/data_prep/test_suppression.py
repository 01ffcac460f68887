"""Non-maximum suppression against torchvision's, group by group."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import nms

from data_prep.detection import suppression
from data_prep.detection.suppression import survivors


@pytest.mark.parametrize("iou", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("seed", range(5))
def test_the_same_boxes_as_torchvision(iou: float, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppression, "_PAIRS", 1000 + 5000 * seed)
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 4, 300)
    # Few places and scores, so that overlaps of exactly `iou`, equal scores and empty boxes occur.
    first = rng.integers(0, 20, (300, 2))
    boxes = np.hstack([first, first + rng.integers(0, 11, (300, 2))]).astype(np.float32)
    scores = rng.integers(0, 20, 300).astype(np.float32) / 20
    expected = []
    for each in range(4):
        mine = np.flatnonzero(group == each)
        expected += mine[nms(torch.tensor(boxes[mine]), torch.tensor(scores[mine]), iou).numpy()].tolist()
    assert survivors(group, boxes, scores, iou=iou).tolist() == expected


def test_no_boxes() -> None:
    none = np.empty(0, np.int64)
    assert survivors(none, np.empty((0, 4), np.float32), np.empty(0, np.float32), iou=0.5).shape == (0,)
