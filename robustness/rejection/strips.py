"""Strips of images before and after an attack, with what the model and the detector said of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from data_prep.counted import counted
from faceverif.report.plotting import GENUINE, IMPOSTOR, PANEL_IN, SOFT, Panel, new_panel
from robustness.rejection.findings import Finding

# In a strip, in units of a column's width: side of an image, height of its row, of the text below it, and of
# the row's name.
_IMAGE, _ROW, _TEXT, _NAME = 0.92, 0.96, 0.36, 0.24
_COLUMNS = 4


def strip_panels(finding: Finding) -> list[Panel]:
    """A few images: clean, the change, attacked. Below them stand the decision and the score.

    The decision is the true and the predicted class, or for pairs the cosine with the reference, which is
    shown on top. The score is orange if the image is rejected. Four images make a panel.
    """
    pictures = finding.pictures()
    clean, attacked = pictures["clean"], pictures["attacked"]
    largest = max(float(np.abs(attacked - clean).max()), 1e-6)
    rows = {"clean": clean, "change": 0.5 + (attacked - clean) / (2 * largest), "attacked": attacked}
    if "reference" in pictures:
        rows = {"reference": pictures["reference"]} | rows
    texts = _texts(finding)
    return [
        _strip(
            str(start // _COLUMNS + 1),
            {name: images[start : start + _COLUMNS] for name, images in rows.items()},
            {name: lines[start : start + _COLUMNS] for name, lines in texts.items()},
        )
        for start in range(0, len(clean), _COLUMNS)
    ]


def _strip(
    name: str, rows: Mapping[str, NDArray[np.float32]], texts: Mapping[str, list[tuple[str, str, bool]]]
) -> Panel:
    heights = [_ROW + _TEXT * (row in texts) for row in rows]
    tops = [sum(heights[:row]) for row in range(len(rows))]
    # One pair of axes for all images: one for each would take seconds to draw. A row's name stands above it.
    figure, axes = new_panel(height_in=PANEL_IN * (sum(heights) + _NAME * len(rows)) / _COLUMNS)
    tops = [top + _NAME * (row + 1) for row, top in enumerate(tops)]
    for top, (row, images) in zip(tops, rows.items(), strict=True):
        axes.text(0, top - 0.06, row, fontsize=9, color=SOFT)
        for column, image in enumerate(np.clip(images, 0, 1).transpose(0, 2, 3, 1)):
            place = (column, column + _IMAGE, top + _IMAGE, top)
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1, extent=place, interpolation="none")
            if row in texts:
                _write_below(axes, *texts[row][column], at=(column + _IMAGE / 2, top + _ROW))
    axes.set(xlim=(0, _COLUMNS), ylim=(sum(heights) + _NAME * len(rows), 0))
    axes.set_axis_off()
    described = "; ".join(
        f"{row}: "
        + ", ".join(f"{line}, score {score}{' rejected' if gone else ''}" for line, score, gone in lines)
        for row, lines in texts.items()
    )
    count = len(next(iter(rows.values())))
    return Panel(name, figure, f"{counted(count, 'image')}, rows {', '.join(rows)}. {described}.")


def _write_below(axes: Axes, line: str, score: str, rejected: bool, *, at: tuple[float, float]) -> None:
    across, down = at
    colour = IMPOSTOR if rejected else GENUINE
    axes.text(across, down, line, ha="center", va="top", fontsize=9)
    axes.text(across, down + _TEXT / 2, score, color=colour, ha="center", va="top", fontsize=9, weight="bold")


def _texts(finding: Finding) -> dict[str, list[tuple[str, str, bool]]]:
    """Two lines for every image, and whether it is rejected, before and after the attack."""
    scores, detector = finding.scores(), finding.own_detector
    point = finding.points[max(finding.points)]
    sides = {"clean": scores.clean[detector], "attacked": scores.attacked[detector]}
    texts: dict[str, list[tuple[str, str, bool]]] = {}
    for number, (side, its) in enumerate(sides.items()):
        if scores.similarity is not None:
            lines = [f"cosine {cosine:.2f}" for cosine in scores.similarity[number]]
        else:
            assert scores.classes is not None  # else it is of pairs
            label, *predicted = scores.classes
            lines = [f"{true} → {said}" for true, said in zip(label, predicted[number], strict=True)]
        rejected = point.rejects(its).tolist()
        texts[side] = [
            (line, f"{score:.3g}", gone) for line, score, gone in zip(lines, its, rejected, strict=True)
        ]
    return texts
