"""The images on which a certificate is computed: those of a run's classes that were not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from data_prep.errors import InputError
from faceverif.images.base import LabelledImages
from robustness.attacked_model import AttackedModel
from robustness.loaded_run import load_run

# The rule, for the pages.
DRAWN = "drawn at random from those of its classes that the model was not trained on"


def draw_unseen(run: Path, *, images: int, seed: int, otherwise: str) -> tuple[AttackedModel, LabelledImages]:
    """A run's model in evaluation mode, and images of its classes drawn at random.

    Args:
        run: a folder by `faceverif classify`, `faceverif train` or `faceverif fit-head`.
        images: how many at most.
        seed: of the choice.
        otherwise: for the errors: what certifies a run that has no such images, or no head.

    Raises:
        InputError: no such run, or no unseen images.
    """
    loaded = load_run(run, otherwise=otherwise)
    if not len(loaded.unseen):
        raise InputError(
            "--model",
            "must have images of its classes that were not trained on",
            got=f"{run}, which has none",
            fix=f"Train with data.held_out_per_identity: 1, or {otherwise}.",
        )
    order = np.random.default_rng(seed).permutation(len(loaded.unseen))[:images]
    return loaded.model.eval(), loaded.unseen.take(torch.from_numpy(order))
