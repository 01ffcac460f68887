"""What learns: the model, its optimizer, and the one step that changes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from faceverif.config.run import RunConfig
from faceverif.training.augmentation import augment_crops, draw_augmentation
from faceverif.training.data import Batch
from faceverif.training.optimizer import build_optimizer, set_learning_rate
from faceverif.training.randomness import counted_generator, counted_seed
from faceverif.training.recognition_model import RecognitionModel
from faceverif.training.schedule import learning_rate_factor, margin_progress
from faceverif.training.start import Start
from faceverif.training.step_figures import StepFigures


class Learner:
    """A model in training.

    Every random draw is made from the seed and the number of the step, so a step depends on nothing but the
    state that a checkpoint holds.

    Args:
        config: the run.
        fabric: device, precision and processes.
        classes: how many identities.
        steps_per_epoch: for schedules, which count in epochs.
        start: what an earlier run learnt; null: from scratch.

    Attributes:
        result: the backbone that is verified and exported: the moving average where there is one.
    """

    result: nn.Module

    def __init__(
        self,
        config: RunConfig,
        fabric: Fabric,
        *,
        classes: int,
        steps_per_epoch: int,
        start: Start | None = None,
    ) -> None:
        self.config, self.fabric, self.steps_per_epoch = config, fabric, steps_per_epoch
        torch.manual_seed(counted_seed(config.seed, "weights"))
        model = RecognitionModel(config, classes=classes).to(memory_format=torch.channels_last)
        if start is not None:
            start.give(model)
        self.network = model
        self.optimizer = build_optimizer(config.optimizer, model)
        self.model, self._fabric_optimizer = fabric.setup(model, self.optimizer)
        self.result = model.backbone
        self.average: AveragedModel | None = None
        if config.training.ema_decay is not None:
            smoothing = get_ema_multi_avg_fn(config.training.ema_decay)
            self.average = AveragedModel(model.backbone, multi_avg_fn=smoothing, use_buffers=True)
            self.result = self.average.module

    def state(self) -> dict[str, Any]:
        """Tensors and plain values that the next step depends on, the same on any number of processes."""
        return {
            "backbone": self.network.backbone.state_dict(),
            "objective": self.network.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.network.backbone.load_state_dict(state["backbone"])
        self.network.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def learning_rate(self, step: int) -> float:
        """Of the step with that number, counted from 0."""
        factor = learning_rate_factor(
            self.config.schedule,
            epoch=(step + 1) / self.steps_per_epoch,
            epochs=self.config.training.epochs,
        )
        return self.config.optimizer.learning_rate * factor

    def margin_progress(self, step: int) -> float:
        """Of the step with that number, counted from 0."""
        return margin_progress(self.config.schedule, epoch=step / self.steps_per_epoch)

    def compute_gradients(self, batch: Batch, *, step: int) -> StepFigures:
        """Forward and backward over this process's share of a batch; the gradients are averaged and clipped.

        Args:
            batch: the share, on any device.
            step: number of the step, counted from 0.
        """
        fabric, training = self.fabric, self.config.training
        self.network.train()
        self.network.objective.set_margin_progress(self.margin_progress(step))
        torch.manual_seed(counted_seed(self.config.seed, "dropout", step, fabric.global_rank))
        self._fabric_optimizer.zero_grad(set_to_none=True)
        measured = torch.zeros(2, device=fabric.device)
        parts = self._parts(batch, step=step)
        for number, (pixels, labels) in enumerate(parts, start=1):
            with fabric.no_backward_sync(self.model, enabled=number < training.accumulate):
                output = self.model(pixels, labels)
                loss = output.loss / training.accumulate
                hits = (output.head.logits.argmax(dim=1) == labels).float().mean() / training.accumulate
                fabric.backward(loss)
            measured += torch.stack((loss.detach(), hits))
        norm = fabric.clip_gradients(
            self.model,
            self._fabric_optimizer,
            max_norm=training.clip_norm or float("inf"),
            error_if_nonfinite=False,
        )
        # One wait for the device a step, which the check before the update needs anyway.
        figures = (fabric.all_reduce(measured, reduce_op="mean"), norm)
        return StepFigures(*torch.hstack([torch.as_tensor(figure) for figure in figures]).tolist())

    def update(self, *, step: int) -> None:
        """Move the weights along the gradients that `compute_gradients` left."""
        set_learning_rate(self.optimizer, self.learning_rate(step))
        self._fabric_optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network.backbone)

    def end_epoch(self) -> None:
        """To be called after the last step of an epoch."""
        self.network.objective.end_epoch()

    def _parts(self, batch: Batch, *, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The share in `accumulate` equal parts, augmented."""
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
            pixels = augment_crops(
                crops[photos],
                draw[photos],
                config=config.augmentation,
                input_px=config.backbone.input_px,
            )
            yield pixels, labels[photos]
