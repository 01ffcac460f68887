"""Pictures show what was computed: axes, bars and dots against their numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from faceverif.classification.figures import (
    angles_figure,
    likelihood_figure,
    reliability_figure,
    scatter_figure,
)
from faceverif.classification.outputs import LikelihoodMap, RunOutputs
from faceverif.report.plotting import line_styles


@pytest.fixture
def outputs() -> RunOutputs:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    return RunOutputs(
        counts=np.array([0, 20, 100]),
        confidence=np.array([np.nan, 0.6, 0.9]),
        accuracy=np.array([np.nan, 0.5, 0.95]),
        embeddings=(random.normal(size=(120, 2)) + 6 * labels[:, None]).astype(np.float32),
        labels=labels,
    )


def test_every_run_has_a_panel_with_all_its_embeddings(outputs: RunOutputs) -> None:
    panels = scatter_figure({f"run {number}": outputs for number in range(5)}).axes
    assert [axes.get_title() for axes in panels] == [f"run {number}" for number in range(5)]
    for axes in panels:
        dots = np.concatenate([np.asarray(heap.get_offsets()) for heap in axes.collections])
        np.testing.assert_allclose(dots, outputs.embeddings)
        assert [text.get_text() for text in axes.texts] == ["0", "1", "2"]


def test_bars_of_reliability_are_the_accuracies(outputs: RunOutputs) -> None:
    axes = reliability_figure({"softmax": outputs}, ece={"softmax": 0.0583}).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [0.5, 0.95]
    assert [bar.get_x() + bar.get_width() / 2 for bar in axes.patches] == pytest.approx([0.5, 5 / 6])
    assert axes.texts[0].get_text() == "ECE 5.83 %"


def test_the_map_lies_under_its_embeddings(outputs: RunOutputs) -> None:
    heat = LikelihoodMap(np.arange(6.0, dtype=np.float32).reshape(2, 3), left=-3, right=9, bottom=-2, top=8)
    axes = likelihood_figure({"l-gm": (outputs, heat)}).axes[0]
    assert axes.images[0].get_extent() == [-3, 9, -2, 8]
    assert axes.images[0].get_clim()[1] == 5
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), outputs.embeddings)


def test_a_group_of_bars_a_class() -> None:
    axes = angles_figure(
        {"softmax": [10.0, None, 30.0], "w-softmax": [5.0, 6.0, 7.0]},
        styles=line_styles(["softmax", "w-softmax"]),
    ).axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    assert heights[:1] + heights[2:] == [10.0, 30.0, 5.0, 6.0, 7.0]
    assert math.isnan(heights[1])
