"""The figures of a verification."""

from __future__ import annotations

import numpy as np
import pytest

from faceverif.verification.figures import ScoredPairs, verification_panels


@pytest.mark.parametrize("pairs", [50, 3000])
@pytest.mark.parametrize("distance", [0.1, 0.5, 1.0, 2.0, 3.0, 5.0])
def test_no_label_lies_on_its_curve(pairs: int, distance: float) -> None:
    """Of models from nearly random to nearly perfect."""
    same = np.arange(2 * pairs) < pairs
    scores = np.random.default_rng(0).normal(0, 1, 2 * pairs) + distance * same
    for panel in verification_panels(ScoredPairs(scores, same, np.array([]), "cosine"))[:2]:
        panel.figure.draw_without_rendering()
        [axes] = panel.figure.axes
        label = axes.get_legend()
        [curve] = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
        drawn = curve.get_path().transformed(curve.get_transform())
        assert not drawn.intersects_bbox(label.get_window_extent(), filled=False), panel.name
