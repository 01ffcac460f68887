"""Pictures of tables show what was computed: lines, dots and marks against their numbers."""

from __future__ import annotations

import numpy as np

from faceverif.experiment.figures import seeds_panel, series_panel
from faceverif.report.curves import Line, panels_of_runs
from faceverif.report.plotting import line_styles

STYLES = line_styles(["softmax", "w-softmax", "begun"])


def test_curves_leave_out_what_was_not_measured() -> None:
    metrics = {
        "epoch": np.array([1.0, 2.0, 3.0]),
        "loss": np.array([3.0, 2.0, 1.0]),
        "accuracy": np.array([0.2, 0.4, 0.6]),
        "lfw/accuracy": np.array([np.nan, 0.3, 0.5]),
    }
    columns = {"loss": "Loss", "lfw/accuracy": "LFW"}
    panels = panels_of_runs({"softmax": metrics, "begun": {}}, columns, over="epoch", styles=STYLES)
    loss, judged = (panel.figure.axes[0] for panel in panels)
    assert panels[1].alt == "LFW over epoch. softmax: 30 % at 2, 50 % at 3; begun: no number yet."
    assert loss.lines[0].get_ydata().tolist() == [3.0, 2.0, 1.0]
    np.testing.assert_allclose(judged.lines[0].get_xydata(), [[2, 0.3], [3, 0.5]])
    assert judged.get_title() == "LFW"
    assert len(loss.lines) == 2


def test_accuracy_over_width() -> None:
    lines = [
        Line("softmax", [2, 9, 90], [97.0, 99.0, 99.1], STYLES["softmax"]),
        Line("w-softmax", [2, 9], [98.0, 99.2], STYLES["w-softmax"]),
    ]
    panel = series_panel(lines, setting="embedding dim", value="accuracy in %", mark=(9, "classes - 1 = 9"))
    [axes] = panel.figure.axes
    assert axes.get_xscale() == "log"
    assert [line.get_label() for line in axes.lines[:2]] == ["softmax", "w-softmax"]
    assert [text.get_text() for text in axes.texts] == ["classes - 1 = 9"]
    assert "w-softmax: 98 at 2, 99.2 at 9" in panel.alt
    assert [text.get_text() for text in axes.get_xticklabels()] == ["2", "9", "90"]


def test_a_paper_far_away_does_not_squeeze_the_dots() -> None:
    styles = line_styles(["plain"])
    panel = seeds_panel({"plain": [78.6, 79.0]}, label="accuracy", published={"plain": 99.1}, styles=styles)
    [axes] = panel.figure.axes
    assert len(axes.lines) == 2
    assert axes.get_xlim()[1] < 80


def test_a_dot_a_seed_beside_the_paper() -> None:
    panel = seeds_panel(
        {"softmax": [0.7, 0.9], "l-gm": [0.4]},
        label="error in %",
        published={"l-gm": 0.39},
        styles=line_styles(["softmax", "l-gm"]),
    )
    [axes] = panel.figure.axes
    assert "softmax: mean 0.8 of 2 seeds, 0.7 to 0.9" in panel.alt
    dots, mean, _, _, paper = axes.lines
    assert dots.get_xydata().tolist() == [[0.7, 0], [0.9, 0]]
    np.testing.assert_allclose(mean.get_xydata(), [[0.8, 0]])
    assert paper.get_xydata().tolist() == [[0.39, 1]]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["softmax", "l-gm"]
