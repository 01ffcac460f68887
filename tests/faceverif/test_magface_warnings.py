"""MagFace settings under which the length of an embedding says little are warned of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_runs import run_config

from faceverif.training.magface_warnings import warnings_of_lengths

HEAD = {"name": "magface", "scale": 64}


def warnings(head: dict[str, Any], weight: float | None, **backbone: Any) -> list[str]:
    penalties = [] if weight is None else [{"name": "magnitude", "weight": weight}]
    config = run_config(Path("none"), head=head, penalties=penalties, backbone=backbone)
    return warnings_of_lengths(config, mean_square=config.backbone.mean_square)


@pytest.mark.parametrize("weight", [35, 22.7])
def test_the_papers_settings_are_not_warned_of(weight: float) -> None:
    assert warnings(HEAD, weight, last_norm="affine") == []


def test_another_head_is_not_warned_of() -> None:
    assert warnings({"name": "arcface"}, None) == []


def test_what_speaks_against_the_settings_is_named() -> None:
    (missing,) = warnings(HEAD, None, last_norm="affine")
    assert "without the penalty magnitude" in missing
    assert "a weight of 22.6 or more" in missing
    (small,) = warnings(HEAD, 20, last_norm="affine")
    assert "weight 20 of the penalty magnitude is below 22.6" in small
    (fixed,) = warnings(HEAD, 35)
    assert "fixes the root mean square of the lengths at 4," in fixed  # of 16 dimensions
    layers = {"name": "sphereface", "depth": 20, "embedding_dim": 16, "input_px": 32}
    assert warnings(HEAD, 35, **layers, last_layers="prelu_affine_norm") == []
    assert len(warnings(HEAD, 35, **layers, last_layers="prelu_norm")) == 1


def test_a_smaller_range_needs_less_weight() -> None:
    assert warnings(HEAD | {"upper_margin_rad": 0.45}, 0.1, last_norm="affine") == []
