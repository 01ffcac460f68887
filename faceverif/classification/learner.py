"""What learns: network and objective, their optimizer, and the one step that changes them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from faceverif.classification.augmentation import augment_images
from faceverif.classification.classifier import Classifier
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.trained import start_from
from faceverif.images.labelled import as_pixels
from faceverif.training.optimizer import build_optimizer, set_learning_rate
from faceverif.training.randomness import counted_generator, counted_seed
from faceverif.training.schedule import learning_rate_factor, margin_progress
from faceverif.training.step_figures import StepFigures


class ClassifierLearner:
    """A classifier in training.

    Every random draw is made from the seed and the number of the step, so a step depends on nothing but the
    state that a checkpoint holds.

    Args:
        config: the run.
        shape: channels, height and width of an image.
        classes: how many there are.
        steps_per_epoch: for schedules, which count in epochs.
        device: where to learn.
    """

    def __init__(
        self,
        config: ClassificationConfig,
        *,
        shape: tuple[int, int, int],
        classes: int,
        steps_per_epoch: int,
        device: torch.device,
    ) -> None:
        self.config, self.steps_per_epoch, self.device = config, steps_per_epoch, device
        torch.manual_seed(counted_seed(config.seed, "weights"))
        model = Classifier(config, shape=shape, classes=classes)
        if config.training.start_from is not None:
            start_from(config.training.start_from, model)
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.optimizer = build_optimizer(config.optimizer, self.model)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values that the next step depends on."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def learning_rate(self, step: int) -> float:
        """Of the step with that number, counted from 0."""
        epoch, epochs = (step + 1) / self.steps_per_epoch, self.config.training.epochs
        factor = learning_rate_factor(self.config.schedule, epoch=epoch, epochs=epochs)
        return self.config.optimizer.learning_rate * factor

    def compute_gradients(self, images: Tensor, labels: Tensor, *, step: int) -> StepFigures:
        """Forward and backward over a batch; gradients are clipped.

        Args:
            images: (batch, C, H, W) uint8, on the learner's device.
            labels: (batch,) int64, there too.
            step: number of the step, counted from 0.

        Raises:
            InputError: labels or embeddings break a rule of the head or of a penalty.
        """
        config = self.config
        self.model.train()
        progress = margin_progress(config.schedule, epoch=step / self.steps_per_epoch)
        self.model.objective.set_margin_progress(progress)
        generator = counted_generator(config.seed, "augmentation", step)
        pixels = as_pixels(augment_images(images, config.augmentation, generator=generator))
        torch.manual_seed(counted_seed(config.seed, "dropout", step))
        self.optimizer.zero_grad(set_to_none=True)
        mixed = config.training.precision == "bf16-mixed"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=mixed):
            output = self.model.objective(self.model.network(pixels), labels)
        output.loss.backward()
        longest = config.training.clip_norm or float("inf")
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), longest)
        hits = (output.head.logits.argmax(dim=1) == labels).float().mean()
        # One wait for the device a step, which the check before the update needs anyway.
        return StepFigures(*torch.stack((output.loss.detach(), hits, norm)).tolist())

    def update(self, *, step: int) -> None:
        """Move the weights along the gradients that `compute_gradients` left."""
        set_learning_rate(self.optimizer, self.learning_rate(step))
        self.optimizer.step()

    def end_epoch(self) -> None:
        """To be called after the last step of an epoch."""
        self.model.objective.end_epoch()
