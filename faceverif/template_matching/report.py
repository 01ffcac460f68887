"""The page of a comparison of IJB templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.json_object import read_json
from faceverif.file_names import FIGURES_NAME, REPORT_NAME, RESULT_NAME
from faceverif.report.pages import write_page
from faceverif.report.plotting import ACCENT, house_style
from faceverif.report.run_page import ShownPair, picture_uri
from faceverif.report.svg import save_panels
from faceverif.template_matching.result import TemplateResult
from faceverif.verification.figures import ScoredPairs, det_panel, roc_panel, scores_panel
from faceverif.verification.files import PAIRS_NAME

_MAIN_NUMBERS = ("eer", "auc", "tar_at_far", "tar_interval_at_far")


def write_template_report(result: TemplateResult, folder: Path) -> Path:
    """Write figures and page of a folder that holds `result.json` and pictures of pairs."""
    facts = read_json(folder / RESULT_NAME)
    pairs = ScoredPairs(result.scores, result.protocol.pairs.same, np.empty(0), facts["similarity"])
    rocs, styles = {"": result.numbers.roc}, {"": {"color": ACCENT, "linestyle": "-"}}
    with house_style():
        panels = [roc_panel(rocs, styles=styles), det_panel(rocs, styles=styles), scores_panel(pairs)]
        drawings = save_panels(panels, folder / FIGURES_NAME)
    return write_page(
        folder / REPORT_NAME,
        "template_pairs.html.j2",
        kind="Face verification by IJB templates",
        title=facts["protocol"],
        numbers={name: facts[name] for name in _MAIN_NUMBERS},
        facts=facts,
        figures=drawings,
        genuine=_pairs(facts["hardest"]["genuine"], folder),
        impostor=_pairs(facts["hardest"]["impostor"], folder),
    )


def _pairs(shown: Sequence[Mapping[str, Any]], folder: Path) -> list[ShownPair]:
    pictures = folder / FIGURES_NAME / PAIRS_NAME
    return [
        ShownPair(
            pair["left"],
            pair["right"],
            pair["score"],
            pair["fallback"],
            picture_uri(pictures / pair["picture"]),
        )
        for pair in shown
    ]
