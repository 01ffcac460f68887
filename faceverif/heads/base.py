"""The contract of a head: raw embeddings and labels in, logits out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceverif.checked_tensors import refuse_bad_embeddings, valid_labels
from faceverif.heads.moments import ClassMoments
from faceverif.sharding.collectives import sum_over_processes

if TYPE_CHECKING:
    from faceverif.heads.sharding import Sharding

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

    def surprise(self, labels: Tensor) -> Tensor:
        """(batch,) cross entropy with the margin; where classes are spread, of the batch of all processes."""
        return F.cross_entropy(self.margin_logits, labels, reduction="none")

    def highest(self) -> tuple[Tensor, Tensor]:
        """(batch,) highest margin-free logits, and (batch,) their classes."""
        highest, classes = self.logits.max(dim=1)
        return highest, classes


class Head(nn.Module, ABC):
    """Class centres and the rule that compares embeddings with them.

    A head receives raw embeddings, (batch, dim), whatever their norm, and owns its class centres. A new head
    is a subclass whose docstring states the formula, a config, a line in the registry of `faceverif.heads`,
    and an oracle that its logits must equal in training. Where only the cosine with the own class changes, it
    is an `AngularHead` with one method, `lower_own`.

    Args:
        classes: how many there are.
        embedding_dim: length of an embedding.

    Attributes:
        undecayed: names of parameters that weight decay must spare, since zero means nothing to them.
        learning_rate_factors: by name, for parameters that learn slower or faster than the rest.
        by_class: names of parameters and buffers that have a row for every class. A head that names them can
            be spread over processes: its `compare` then gets labels outside [0, rows) for classes that
            another process holds.
        centres_name: of the parameter that says where the classes are. Another run's head is taken over where
            it has one of that name and shape.
        centres_per_class: with how many a sample is compared for every class.
        sharding: how its classes are spread over processes; None: all are here.
    """

    undecayed: ClassVar[frozenset[str]] = frozenset()
    learning_rate_factors: Mapping[str, float] = _NOTHING
    by_class: ClassVar[frozenset[str]] = frozenset()
    centres_name: ClassVar[str] = "weight"
    centres_per_class: int = 1
    sharding: Sharding | None = None

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
            embeddings = embeddings.to(self.precision)
            if self.training:
                self.observe(embeddings.detach(), labels)
            if self.sharding is not None:
                return self.sharding.compare(self, embeddings, labels)
            return self.compare(embeddings, labels)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Margin-free logits, (batch, classes), in the head's precision even under autocast.

        Raises:
            InputError: embeddings of another length or not finite.
        """
        refuse_bad_embeddings(embeddings, dim=self.embedding_dim)
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.compare_plainly(embeddings.to(self.precision))

    @property
    def precision(self) -> torch.dtype:
        """That of the class centres: float32, unless the head was converted."""
        return self.centres().dtype

    @abstractmethod
    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """`forward`, on embeddings in the head's precision and checked labels."""

    @abstractmethod
    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """`logits`, on embeddings in the head's precision."""

    @abstractmethod
    def centres(self) -> Tensor:
        """Where the classes are in the space of embeddings, (classes, dim); of a spread head, those here."""

    def over_processes(self, tensor: Tensor) -> Tensor:
        """The sum over the processes that hold the classes together, without a gradient."""
        return tensor if self.sharding is None else sum_over_processes(tensor)

    def held(self, rows: Tensor) -> Tensor:
        """Of (classes, ...) rows, those whose classes are here."""
        return rows if self.sharding is None else rows[self.sharding.shard.rows]

    @torch.no_grad()
    def start_at(self, moments: ClassMoments) -> None:
        """Put the class centres where the classes of a data set are: unit vectors towards their means.

        Args:
            moments: of raw embeddings, of as many classes.
        """
        self.centres().copy_(self.held(F.normalize(moments.means)))

    def can_continue(self, trained: Mapping[str, Tensor]) -> bool:
        """Whether another run's head, whose state that is, has class centres that mean the same here.

        Args:
            trained: parameters and buffers by name, with all classes.
        """
        own, theirs = self.get_parameter(self.centres_name), trained.get(self.centres_name)
        return theirs is not None and theirs.shape == (self.classes, *own.shape[1:])

    @torch.no_grad()
    def continue_from(self, trained: Mapping[str, Tensor]) -> None:
        """Take over what a head has learnt of its classes, where `can_continue`: centres, bias, variances.

        What it lacks, or has in another shape, stays as it was drawn. Call it before classes are spread.
        """
        for name, own in self.named_parameters():
            if name in trained and trained[name].shape == own.shape:
                own.copy_(trained[name])

    def observe(self, embeddings: Tensor, labels: Tensor) -> None:
        """Update running statistics, or what else changes with a step; called before `compare`, in training.

        Each process sees its share of a batch. What is gathered goes through `sum_over_processes`, so that
        all processes hold the same statistics, and a batch gives the same ones on any number of them. With
        training.accumulate above 1 it is called for each part of a batch.

        Args:
            embeddings: (batch, dim), raw, in the head's precision, without a gradient.
            labels: (batch,), int64 in [0, classes).
        """

    def start_draws(self, seed: int) -> None:
        """Take what the head draws of the next batch from that seed, which all processes share.

        What is drawn depends on the seed and on a sample's place in the batch of all processes, so a run that
        continues needs nothing stored. With training.accumulate above 1 each part of a batch has a seed. Most
        heads draw nothing.
        """

    def set_margin_progress(self, progress: float) -> None:
        """Grow the margin with training; `progress` runs from 0 (no margin) to 1 (the whole margin)."""

    def end_epoch(self) -> None:
        """To be called after an epoch's last step; most heads know no epochs."""
