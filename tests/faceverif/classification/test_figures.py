"""Pictures show what was computed: axes, bars and dots against their numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from faceverif.classification.figures import (
    angles_panels,
    likelihood_panels,
    reliability_panels,
    scatter_panels,
)
from faceverif.classification.outputs import Drawn, LikelihoodMap, RunOutputs, in_two_dimensions
from faceverif.report.plotting import line_styles


@pytest.fixture
def drawn() -> Drawn:
    labels = np.repeat(np.arange(3), 40)
    embeddings = np.random.default_rng(0).normal(size=(120, 2)) + 6 * labels[:, None]
    return Drawn(embeddings.astype(np.float32), labels, 1.0)


@pytest.fixture
def outputs(drawn: Drawn) -> RunOutputs:
    return RunOutputs(
        counts=np.array([0, 20, 100]),
        confidence=np.array([np.nan, 0.6, 0.9]),
        accuracy=np.array([np.nan, 0.5, 0.95]),
        evaluated=drawn,
        trained=drawn,
        training_angles=np.array([10.0, np.nan, 30.0]),
        dense_parameters=100,
    )


def test_every_run_has_a_panel_with_all_its_embeddings(drawn: Drawn) -> None:
    panels = scatter_panels({f"run {number}": drawn for number in range(5)})
    assert [panel.name for panel in panels] == [f"run {number}" for number in range(5)]
    for panel in panels:
        [axes] = panel.figure.axes
        dots = np.concatenate([np.asarray(heap.get_offsets()) for heap in axes.collections])
        np.testing.assert_allclose(dots, drawn.embeddings)
        assert [text.get_text() for text in axes.texts] == ["0", "1", "2"]
        x, y = np.median(drawn.embeddings[drawn.labels == 1], axis=0)
        assert f"class 1 at {x:.3g}, {y:.3g}" in panel.alt


def test_bars_of_reliability_are_the_accuracies(outputs: RunOutputs) -> None:
    styles = line_styles(["softmax"])
    [panel] = reliability_panels({"softmax": outputs}, ece={"softmax": 0.0583}, styles=styles)
    [axes] = panel.figure.axes
    assert "0.950 at confidence 0.900" in panel.alt
    assert [bar.get_height() for bar in axes.patches] == [0.5, 0.95]
    assert [bar.get_x() + bar.get_width() / 2 for bar in axes.patches] == pytest.approx([0.5, 5 / 6])
    assert axes.texts[0].get_text() == "ECE 5.83 %"


def test_the_map_lies_under_its_embeddings(drawn: Drawn) -> None:
    heat = LikelihoodMap(np.arange(6.0, dtype=np.float32).reshape(2, 3), left=-3, right=9, bottom=-2, top=8)
    axes = likelihood_panels({"l-gm": (drawn, heat)})[0].figure.axes[0]
    assert axes.images[0].get_extent() == [-3, 9, -2, 8]
    assert axes.images[0].get_clim()[1] == 5
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), drawn.embeddings)


def test_a_picture_of_principal_components_says_how_much_it_shows(drawn: Drawn) -> None:
    panels = scatter_panels({"2-D": drawn, "100-D": drawn._replace(explained=0.625)})
    flat, projected = (panel.figure.axes[0] for panel in panels)
    assert flat.get_xlabel() == ""
    assert projected.get_xlabel() == "PCA, 62.50 % of variance"


def test_numbers_of_many_classes_do_not_hide_the_dots(drawn: Drawn) -> None:
    labels = np.arange(120) % 40
    axes = scatter_panels({"cifar100": drawn._replace(labels=labels)})[0].figure.axes[0]
    assert not axes.texts
    assert len(axes.collections) == 40


def test_more_than_two_dimensions_are_projected_where_they_vary_most() -> None:
    random = np.random.default_rng(0)
    spread = np.array([0.1, 5.0, 0.0, 2.0])
    embeddings = (random.normal(size=(500, 4)) * spread + 7).astype(np.float32)
    labels = np.zeros(500, dtype=np.int64)
    flat, _, explained = in_two_dimensions(embeddings, labels, axes_of=embeddings)
    centred = embeddings - embeddings.mean(axis=0)
    variances = np.sort(np.linalg.eigvalsh(np.cov(centred.T)))[::-1]
    np.testing.assert_allclose(flat.var(axis=0, ddof=1), variances[:2], rtol=1e-4)
    assert explained == pytest.approx(variances[:2].sum() / variances.sum(), rel=1e-5)
    np.testing.assert_allclose(np.abs(flat[:, 0]), np.abs(centred[:, 1]), atol=0.5)
    few = in_two_dimensions(embeddings[:3], labels[:3], axes_of=embeddings)
    np.testing.assert_allclose(few.embeddings, flat[:3], atol=1e-5)  # on the axes of all


def test_in_the_plane_nothing_is_projected_and_a_line_is_drawn_flat() -> None:
    plane = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    labels = np.zeros(9, dtype=np.int64)
    same = in_two_dimensions(plane, labels, axes_of=plane)
    assert same.embeddings is plane
    assert same.in_the_plane
    line, _, seen = in_two_dimensions(plane[:, :1], labels, axes_of=plane[:, :1])
    assert not line[:, 1].any()
    assert 0.999 < seen < 1.0


def test_a_panel_of_angles_for_each_set_with_a_group_of_bars_a_class() -> None:
    panels = angles_panels(
        {
            "training images": {"softmax": [9.0, math.nan, 29.0], "w-softmax": [4.0, 5.0, 6.0]},
            "evaluation images": {"softmax": [10.0, None, 30.0], "w-softmax": [5.0, 6.0, 7.0]},
        },
        styles=line_styles(["softmax", "w-softmax"]),
    )
    for panel, less in zip(panels, (1.0, 0.0), strict=True):
        [axes] = panel.figure.axes
        heights = [bar.get_height() for bar in axes.patches]
        assert heights[:1] + heights[2:] == [angle - less for angle in (10.0, 30.0, 5.0, 6.0, 7.0)]
        assert math.isnan(heights[1])
    assert "softmax 9.0 to 29.0 degrees" in panels[0].alt
    assert len({panel.figure.axes[0].get_ylim() for panel in panels}) == 1
