"""The pairs of IJB templates that were hardest, as pictures: of each the crop that counts most in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceverif.file_names import FIGURES_NAME
from faceverif.template_matching.result import TemplateResult
from faceverif.verification.files import PAIRS_NAME
from faceverif.verification.hardest import HARDEST, save_pair


def hardest_pairs(result: TemplateResult, *, same: bool) -> NDArray[np.int64]:
    """Pairs whose IJB templates have crops, hardest first: genuine of low, impostors of high similarity."""
    pairs = result.protocol.pairs
    rows = np.flatnonzero((pairs.same == same) & ~pairs.with_any(result.photos.without_crop))
    hardness = result.scores[rows] if same else -result.scores[rows]
    if len(rows) > HARDEST:
        limit = np.partition(hardness, HARDEST)[HARDEST]
        rows, hardness = rows[hardness <= limit], hardness[hardness <= limit]
    return rows[np.argsort(hardness, kind="stable")][:HARDEST]


def write_hardest(result: TemplateResult, out: Path) -> dict[str, list[dict[str, Any]]]:
    """Write a picture of each, and say what it shows: the pages read that.

    Returns:
        genuine and impostor -> picture, left, right, score and fallback of each, hardest first.
    """
    folder = out / FIGURES_NAME / PAIRS_NAME
    kinds = {"genuine": True, "impostor": False}
    return {
        kind: [_shown(result, int(row), folder) for row in hardest_pairs(result, same=same)]
        for kind, same in kinds.items()
    }


def _shown(result: TemplateResult, row: int, folder: Path) -> dict[str, Any]:
    pairs, ids = result.protocol.pairs, result.protocol.photos.ids
    templates = np.array([pairs.left[row], pairs.right[row]], dtype=np.int64)
    picture = folder / f"{row}.jpg"
    save_pair(result.dataset, result.photos.one_crop_each(templates).tolist(), picture)
    left, right = (f"IJB template {ids[template]}" for template in templates)
    return {
        "picture": picture.name,
        "left": left,
        "right": right,
        "score": float(result.scores[row]),
        "fallback": bool(result.fallback[row]),
    }
