"""Curves of a training."""

from __future__ import annotations

import pytest

from faceverif.report.curves import Line, lines_panel
from faceverif.report.plotting import line_styles


@pytest.mark.parametrize("steps", [[8], [8, 9], [1, 2, 3], [20, 40, 5000]])
def test_an_axis_of_steps_has_whole_numbers(steps: list[int]) -> None:
    line = Line("loss", steps, [1.0] * len(steps), line_styles(["loss"])["loss"])
    [axes] = lines_panel("loss", "Loss", [line], across="step").figure.axes
    low, high = axes.get_xlim()
    seen = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert seen
    assert all(float(tick).is_integer() for tick in seen)
