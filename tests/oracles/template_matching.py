"""IJB's 1:1 evaluation as the field's script computes it: loops over IJB templates, media and pairs.

The steps are those of InsightFace's `ijb_11.py`: the photos of a medium are averaged, the media of an IJB
template are added, the sum is normalised, and a pair scores the product. In float64, without shortcuts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pooled_oracle(
    raw: NDArray[np.floating],
    templates: list[int],
    media: list[int],
    scores: list[float],
    *,
    use_norm: bool,
    use_score: bool,
) -> dict[int, NDArray[np.float64]]:
    """IJB template -> its unit vector."""
    weighted = []
    for vector, score in zip(raw, scores, strict=True):
        vector = vector.astype(np.float64)
        if not use_norm:
            vector = vector / np.sqrt((vector**2).sum())
        weighted.append(vector * score if use_score else vector)
    pooled = {}
    for template in sorted(set(templates)):
        photos = [place for place, each in enumerate(templates) if each == template]
        total = np.zeros(raw.shape[1])
        for medium in sorted({media[place] for place in photos}):
            frames = [weighted[place] for place in photos if media[place] == medium]
            total += sum(frames) / len(frames)
        pooled[template] = total / np.sqrt((total**2).sum())
    return pooled


def tars_oracle(
    scores: list[float], same: list[int], fars: tuple[float, ...]
) -> dict[float, tuple[float, int]]:
    """FAR -> the largest TAR of a threshold whose FAR is at most that, and its false accepts, by counting."""
    genuine = sorted((score for score, label in zip(scores, same, strict=True) if label), reverse=True)
    impostor = sorted((score for score, label in zip(scores, same, strict=True) if not label), reverse=True)
    best = dict.fromkeys(fars, (0.0, 0))
    accepted = false = 0
    for threshold in sorted(set(scores), reverse=True):
        while accepted < len(genuine) and genuine[accepted] >= threshold:
            accepted += 1
        while false < len(impostor) and impostor[false] >= threshold:
            false += 1
        for far in fars:
            if false / len(impostor) <= far * (1 + 1e-12):
                best[far] = accepted / len(genuine), false
    return best
