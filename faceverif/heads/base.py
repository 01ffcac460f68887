"""The contract of a head: raw embeddings and labels in, logits out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn

from data_prep.errors import InputError

_NOTHING: Mapping[str, float] = MappingProxyType({})


class HeadOutput:
    """What a head says of a batch.

    Args:
        margin_logits: (batch, classes) with the margin at the true class: for the criterion.
        plain: gives the margin-free logits. Most steps ask for no more than the loss, and at 85,742 classes a
            second set of logits costs memory and time.
        own_log_density: (batch,) log density of each embedding in its own class but for a constant, from
            heads that model one; else None.
    """

    def __init__(
        self, margin_logits: Tensor, plain: Callable[[], Tensor], *, own_log_density: Tensor | None = None
    ) -> None:
        self.margin_logits = margin_logits
        self.own_log_density = own_log_density
        self._plain = plain

    @property
    def logits(self) -> Tensor:
        """(batch, classes) margin-free, made when asked for and without a gradient: for accuracy."""
        with torch.no_grad():
            return self._plain()


class Head(nn.Module, ABC):
    """Class centres and the rule that compares embeddings with them.

    A head receives raw embeddings, (batch, dim), whatever their norm, and owns its class centres. A new head
    is a pure function with the maths, a subclass that stores its arguments, a config, and a line in the
    registry of `faceverif.heads`.

    Args:
        classes: how many there are.
        embedding_dim: length of an embedding.

    Attributes:
        undecayed: names of parameters that weight decay must spare, since zero means nothing to them.
        learning_rate_factors: by name, for parameters that learn slower or faster than the rest.
    """

    undecayed: ClassVar[frozenset[str]] = frozenset()
    learning_rate_factors: Mapping[str, float] = _NOTHING

    def __init__(self, *, classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.classes = classes
        self.embedding_dim = embedding_dim

    def forward(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Logits with and without the margin.

        Args:
            embeddings: (batch, dim), raw.
            labels: (batch,), int64 in [0, classes).

        Raises:
            InputError: labels of another type or out of range, or embeddings of another length or not finite.
        """
        refuse_bad_labels(labels, batch=len(embeddings), classes=self.classes)
        refuse_bad_embeddings(embeddings, dim=self.embedding_dim)
        # bfloat16 has three digits: at scale 64 that is an error of 0.25 in a logit. Autocast ends here.
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.compare(embeddings.float(), labels)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Margin-free logits, (batch, classes), in float32 even under autocast.

        Raises:
            InputError: embeddings of another length or not finite.
        """
        refuse_bad_embeddings(embeddings, dim=self.embedding_dim)
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.compare_plainly(embeddings.float())

    @abstractmethod
    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """`forward`, on float32 embeddings and checked labels."""

    @abstractmethod
    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """`logits`, on float32 embeddings."""

    @abstractmethod
    def centres(self) -> Tensor:
        """Where the classes are in the space of embeddings, (classes, dim)."""

    def set_margin_progress(self, progress: float) -> None:
        """Grow the margin with training; `progress` runs from 0 (no margin) to 1 (the whole margin)."""


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
