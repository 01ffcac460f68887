"""Checks of tensors and numbers that heads, penalties and attacks share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from data_prep.errors import InputError


def refuse_bad_labels(labels: Tensor, *, batch: int, classes: int) -> None:
    """Stop on labels that do not name a class each.

    Raises:
        InputError: another type or shape, or a label out of range.
    """
    if labels.dtype != torch.int64:
        raise InputError("labels", "must be int64", got=labels.dtype, fix="Convert them: labels.long().")
    if labels.shape != (batch,):
        raise InputError(
            "labels",
            f"must have one entry per embedding, ({batch},)",
            got=tuple(labels.shape),
            fix="Flatten.",
        )
    lowest, highest = (int(bound) for bound in torch.aminmax(labels)) if batch else (0, 0)
    if lowest < 0 or highest >= classes:
        raise InputError(
            "labels",
            f"must lie in [0, {classes})",
            got=lowest if lowest < 0 else highest,
            fix="Number the classes from 0, or build the head for more of them.",
        )


def refuse_bad_embeddings(embeddings: Tensor, *, dim: int) -> None:
    """Stop on embeddings that are not (batch, dim) finite numbers.

    Raises:
        InputError: another shape, or NaN or infinity in them.
    """
    if embeddings.ndim != 2 or embeddings.shape[1] != dim:
        got, fix = tuple(embeddings.shape), f"Build the head with embedding_dim={embeddings.shape[-1]}."
        raise InputError("embeddings", f"must be (batch, {dim}), as the head was built", got=got, fix=fix)
    if math.isfinite(embeddings.detach().sum()):  # then all are: one pass at each step, not three
        return
    finite = embeddings.isfinite().all(dim=1)
    if not finite.all():
        raise InputError(
            "embeddings",
            "must be finite",
            got=f"NaN or infinity in {int((~finite).sum())} of {len(finite)}",
            fix="Lower optimizer.learning_rate or lengthen schedule.warmup_epochs.",
        )


def require_positive(name: str, value: float) -> None:
    """Stop on a scale that is not above zero.

    Raises:
        InputError: it is not.
    """
    if not value > 0:
        raise InputError(name, "must be > 0", got=value, fix="The papers use 16 to 64.")


def require_not_negative(name: str, value: float) -> None:
    """Stop on a margin, or what controls one, below zero (or not a number).

    Raises:
        InputError: it is.
    """
    if not value >= 0:
        raise InputError(name, "must be >= 0", got=value, fix=f"0 switches it off: {name}=0.")
