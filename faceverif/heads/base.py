"""The contract of a head: raw embeddings and labels in, logits out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceverif.checked_tensors import refuse_bad_embeddings, valid_labels
from faceverif.heads.moments import ClassMoments

_NOTHING: Mapping[str, float] = MappingProxyType({})


class HeadOutput:
    """What a head says of a batch.

    Args:
        margin_logits: (batch, classes) with the margin at the true class: for the criterion.
        plain: gives the margin-free logits. Most steps ask for no more than the loss, and at 85,742 classes a
            second set of logits costs memory and time.
        own_log_density: (batch,) log density of each embedding in its own class up to a constant, from
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
        labels = valid_labels(labels, batch=len(embeddings), classes=self.classes)
        refuse_bad_embeddings(embeddings, dim=self.embedding_dim)
        # bfloat16 has three digits: at scale 64 that is an error of 0.25 in a logit. Autocast ends here.
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            if self.training:
                self.observe(embeddings.detach(), labels)
            return self.compare(embeddings, labels)

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

    @torch.no_grad()
    def start_at(self, moments: ClassMoments) -> None:
        """Put the class centres where the classes of a data set are: unit vectors towards their means.

        Args:
            moments: of raw embeddings, of as many classes.
        """
        self.centres().copy_(F.normalize(moments.means))

    def observe(self, embeddings: Tensor, labels: Tensor) -> None:
        """Update running statistics, which lie in buffers; called before `compare`, in training alone.

        Each process sees its share of a batch. What is gathered goes through `sum_over_processes`, so that
        all processes hold the same statistics, and a batch gives the same ones on any number of them.

        Args:
            embeddings: (batch, dim), raw, in float32, without a gradient.
            labels: (batch,), int64 in [0, classes).
        """

    def set_margin_progress(self, progress: float) -> None:
        """Grow the margin with training; `progress` runs from 0 (no margin) to 1 (the whole margin)."""
