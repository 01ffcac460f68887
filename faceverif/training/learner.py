"""What learns faces: the model, its moving average, and the augmented crops of each step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from faceverif.config.run import RunConfig
from faceverif.heads.sharding import Sharding
from faceverif.sharding.shard import ClassShard
from faceverif.training.augmentation import AugmentationDraw, augment_crops, draw_augmentation
from faceverif.training.checkpoint import load_optimizer
from faceverif.training.data import Batch
from faceverif.training.one_step import OneStep
from faceverif.training.randomness import counted_generator, counted_seed
from faceverif.training.recognition_model import RecognitionModel
from faceverif.training.sharded_state import (
    own_optimizer_state,
    own_state,
    whole_optimizer_state,
    whole_state,
)
from faceverif.training.start_from import Start
from faceverif.training.teachers.base import Teacher, refuse_unfit

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Learner(OneStep[Batch]):
    """A face model in training.

    Args:
        config: the run.
        fabric: device, precision and processes.
        classes: how many identities.
        steps_per_epoch: for schedules, which count in epochs.
        start: what an earlier run learnt; None: from scratch.
        teacher: whom the backbone imitates; None: nobody.

    Attributes:
        result: the backbone that is verified and exported: the moving average where there is one.
    """

    config: RunConfig
    network: RecognitionModel
    result: nn.Module

    def __init__(
        self,
        config: RunConfig,
        fabric: Fabric,
        *,
        classes: int,
        steps_per_epoch: int,
        start: Start | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        torch.manual_seed(counted_seed(config.seed, "weights"))
        model = RecognitionModel(config, classes=classes).to(memory_format=torch.channels_last)
        if start is not None:
            start.give(model)
        if (sharding := _sharding(config, fabric, classes=classes)) is not None:
            model.objective.spread_classes(sharding)
        if teacher is not None:
            refuse_unfit(teacher, model.backbone, config)
        super().__init__(
            config, fabric, model, steps_per_epoch=steps_per_epoch, parts=config.training.accumulate
        )
        self.teacher = teacher
        self.result = model.backbone
        self.average: AveragedModel | None = None
        if config.training.ema_decay is not None:
            smoothing = get_ema_multi_avg_fn(config.training.ema_decay)
            self.average = AveragedModel(model.backbone, multi_avg_fn=smoothing, use_buffers=True)
            self.result = self.average.module

    def state(self) -> dict[str, Any]:
        """As the base class says."""
        return {
            "backbone": self.network.backbone.state_dict(),
            "objective": self.objective_state(),
            "optimizer": whole_optimizer_state(self.optimizer, self.network),
            "average": self.average.state_dict() if self.average is not None else None,
        }

    def objective_state(self) -> dict[str, Tensor]:
        """Head, criterion and penalties. All processes call it together; the first one's has all classes."""
        return whole_state(self.network.objective)

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        network, optimizer = self.network, self.optimizer
        network.backbone.load_state_dict(state["backbone"])
        network.objective.load_state_dict(own_state(network.objective, state["objective"]))
        load_optimizer(optimizer, own_optimizer_state(optimizer, network, state["optimizer"]))
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def update(self, *, step: int) -> None:
        """Move the weights along the gradients that `compute_gradients` left, and the average with them."""
        super().update(step=step)
        if self.average is not None:
            self.average.update_parameters(self.network.backbone)

    def parts(self, batch: Batch, *, step: int) -> Iterator[tuple[Tensor, Tensor, *tuple[Any, ...]]]:
        """The share in `accumulate` equal parts, augmented, with what the teacher makes of it."""
        config, fabric = self.config, self.fabric
        share, size = fabric.global_rank, len(batch.labels)
        draw = draw_augmentation(
            config.augmentation,
            config.training.batch_size,
            generator=counted_generator(config.seed, "augmentation", step),
        )[share * size : (share + 1) * size].to(fabric.device)
        crops = batch.crops.to(fabric.device, non_blocking=True)
        labels = batch.labels.to(fabric.device, non_blocking=True)
        part = size // config.training.accumulate
        for start in range(0, size, part):
            photos = slice(start, start + part)
            pixels = self._seen(crops[photos], draw[photos])
            if self.teacher is None:
                yield pixels, labels[photos]
            else:
                mirrored = draw[photos].mirrored
                yield pixels, labels[photos], self.teacher.output(pixels, batch.photos[photos], mirrored)

    def _seen(self, crops: Tensor, draw: AugmentationDraw) -> Tensor:
        """What the model takes: augmented pixels, or features of the crops or of their mirror images."""
        config = self.config
        if config.training.stored_features is not None:
            seen = crops[torch.arange(len(crops)), draw.mirrored.long()]
            return seen.contiguous(memory_format=torch.channels_last) if seen.ndim == 4 else seen
        side = config.backbone.input_px
        return augment_crops(crops, draw, config=config.augmentation, input_px=side)


def _sharding(config: RunConfig, fabric: Fabric, *, classes: int) -> Sharding | None:
    """How the classes are spread; None where this process compares with all of them."""
    sampled = config.training.sample_classes
    if not config.training.shard_classes or (fabric.world_size == 1 and sampled is None):
        return None
    return Sharding(ClassShard(classes, fabric.world_size, fabric.global_rank), sampled)
