"""What a training minimises: criterion(margin logits) + weighted penalties, put together from YAML."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from data_prep.errors import InputError
from faceverif.checked_tensors import require_two_classes, valid_labels
from faceverif.config.objective import ObjectiveConfig
from faceverif.criteria import Criterion, build_criterion
from faceverif.heads import HeadOutput, build_head
from faceverif.heads.sharding import ShardedOutput, Sharding, spread_classes
from faceverif.penalties import EmbeddedBatch, Lesson, Penalty, build_penalty


class ObjectiveOutput(NamedTuple):
    """What is minimised, and what was predicted on the way.

    Attributes:
        loss: a single number, the mean over the batch; where classes are spread over processes, over that of
            all processes.
        head: the head's output, for accuracy.
    """

    loss: Tensor
    head: HeadOutput


class Objective(nn.Module):
    """Head, criterion and penalties of a config; knows the margin's schedule and the end of an epoch.

    Args:
        config: what to put together.
        classes: how many there are.
        embedding_dim: length of an embedding.

    Raises:
        InputError: a single class, or a setting does not fit the number of classes.
    """

    def __init__(self, config: ObjectiveConfig, *, classes: int, embedding_dim: int) -> None:
        super().__init__()
        require_two_classes(classes)
        self.head = build_head(config.head, classes=classes, embedding_dim=embedding_dim)
        self.criterion = build_criterion(config.criterion, classes=classes)
        self._weighted = []
        for place, penalty in enumerate(config.penalties):
            try:
                built = build_penalty(penalty, classes=classes, embedding_dim=embedding_dim)
            except InputError as error:
                field = f"penalties.{place}.{error.field}"
                raise InputError(field, error.rule, got=error.got, fix=error.fix) from error
            self._weighted.append((penalty.weight, built))
        self.penalties = nn.ModuleList(penalty for _, penalty in self._weighted)

    def forward(self, embeddings: Tensor, labels: Tensor, lesson: Lesson | None = None) -> ObjectiveOutput:
        """Loss of a batch.

        Args:
            embeddings: (batch, dim), raw.
            labels: (batch,), int64 in [0, classes).
            lesson: what a teacher makes of the batch, for `distill`.

        Raises:
            InputError: labels or embeddings break a rule of the head or of a penalty.
        """
        labels = valid_labels(labels, batch=len(embeddings), classes=self.head.classes)
        output = self.head(embeddings, labels)
        with torch.autocast(embeddings.device.type, enabled=False):
            loss = self._criterion_losses(output, labels).mean()
            batch = EmbeddedBatch(embeddings.to(self.head.precision), labels, output, self.head, lesson)
            for weight, penalty in self._weighted:
                loss = loss + weight * _of_batch(penalty, batch).mean()
        return ObjectiveOutput(loss, output)

    def _criterion_losses(self, output: HeadOutput, labels: Tensor) -> Tensor:
        if isinstance(output, ShardedOutput):
            return self.criterion.of_shards(output.columns)
        losses: Tensor = self.criterion(output.margin_logits, labels)
        return losses

    def spread_classes(self, sharding: Sharding) -> None:
        """Leave the head the classes of this process: see `faceverif.heads.sharding`.

        Raises:
            InputError: head, criterion or a penalty cannot be computed from classes spread over processes.
        """
        losses: list[Criterion | Penalty] = [self.criterion]
        losses += [penalty for _, penalty in self._weighted if penalty.sees_classes]
        for loss in losses:
            if type(loss).of_shards in (Criterion.of_shards, Penalty.of_shards):
                raise InputError(
                    "training.shard_classes",
                    "needs losses that can be computed from classes spread over processes",
                    got=type(loss).__name__,
                    fix="Leave training.shard_classes and training.sample_classes out, or this loss.",
                )
        spread_classes(self.head, sharding)

    def set_margin_progress(self, progress: float) -> None:
        """Put that share of the head's margin in force."""
        self.head.set_margin_progress(progress)

    def start_draws(self, seed: int) -> None:
        """Let the head draw for the next batch from that seed, the same in all processes."""
        self.head.start_draws(seed)

    def end_epoch(self) -> None:
        """To be called after an epoch's last step, for what changes from epoch to epoch."""
        self.head.end_epoch()
        self.criterion.end_epoch()
        for _, penalty in self._weighted:
            penalty.end_epoch()


def _of_batch(penalty: Penalty, batch: EmbeddedBatch) -> Tensor:
    if isinstance(batch.output, ShardedOutput) and penalty.sees_classes:
        return penalty.of_shards(batch.output, batch.head)
    value: Tensor = penalty(batch)
    return value


class LearningModel(nn.Module, ABC):
    """Network and objective in one module, so that an optimizer and several processes see both.

    Attributes:
        objective: head, criterion and penalties.
    """

    objective: Objective

    @property
    @abstractmethod
    def layers(self) -> nn.Module:
        """What `embed` runs in evaluation mode, for those who look into it."""

    @abstractmethod
    def embed(self, pixels: Tensor) -> Tensor:
        """Raw embeddings, (batch, dim), of pixels in [0, 1], (batch, C, H, W)."""

    def forward(self, pixels: Tensor, labels: Tensor) -> ObjectiveOutput:
        """Loss and logits of pixels in [0, 1]."""
        return self.objective(self.embed(pixels), labels)
