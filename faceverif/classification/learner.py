"""What learns images: network and objective, and the augmented images of each step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from data_prep.errors import first_line
from data_prep.progress import say
from faceverif.classification.augmentation import augment_images
from faceverif.classification.classifier import Classifier
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.start_from import ClassifierStart
from faceverif.images.labelled import as_pixels
from faceverif.training.checkpoint import load_optimizer
from faceverif.training.one_step import OneStep
from faceverif.training.randomness import counted_generator, counted_seed
from faceverif.training.sharded_state import own_state, whole_state

if TYPE_CHECKING:
    from lightning_fabric import Fabric


# One to warm up, one that a GPU records, one that it repeats.
_REHEARSALS = 3


class ImageBatch(NamedTuple):
    """A process's share of a batch, on its device.

    Attributes:
        images: (batch, C, H, W) uint8.
        labels: (batch,) int64.
    """

    images: Tensor
    labels: Tensor


class ClassifierLearner(OneStep[ImageBatch]):
    """A classifier in training.

    Args:
        config: the run.
        fabric: device and precision.
        shape: channels, height and width of an image.
        classes: how many there are.
        steps_per_epoch: for schedules, which count in epochs.
        start: what is taken over from a finished run; None where the run starts from scratch or continues.
    """

    config: ClassificationConfig
    network: Classifier

    def __init__(
        self,
        config: ClassificationConfig,
        fabric: Fabric,
        *,
        shape: tuple[int, int, int],
        classes: int,
        steps_per_epoch: int,
        start: ClassifierStart | None = None,
    ) -> None:
        torch.manual_seed(counted_seed(config.seed, "weights"))
        classifier = Classifier(config, shape=shape, classes=classes)
        if start is not None:
            start.give(classifier)
        classifier.to(memory_format=torch.channels_last)
        super().__init__(config, fabric, classifier, steps_per_epoch=steps_per_epoch)
        if config.training.compile:
            self._compile(shape)

    def _compile(self, shape: tuple[int, int, int]) -> None:
        """Compile the steps and rehearse them; where that fails, say so, and train as written.

        The kernels of the backward pass are written when it first runs, and a GPU records later rounds.
        """
        share = self.config.training.batch_size // self.fabric.world_size
        black = torch.zeros(share, *shape, dtype=torch.uint8, device=self.fabric.device)
        images, _ = next(self.parts(ImageBatch(black, torch.zeros(share, dtype=torch.int64)), step=0))
        kept = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        self.network.train().compile_steps()
        try:
            for _ in range(_REHEARSALS):
                with self.fabric.autocast():
                    embeddings = self.network.embed(as_pixels(images))
                embeddings.float().sum().backward()
        except Exception as error:  # compilers and GPUs fail in many ways; none of them has to end a run
            self.network.run_as_written()
            why = first_line(error)
            say(f"warning: training.compile does not work here, so the steps run as written: {why}")
        self.optimizer.zero_grad(set_to_none=True)
        for name, buffer in self.network.named_buffers():
            buffer.copy_(kept[name])

    def state(self) -> dict[str, Any]:
        """As the base class says."""
        return {"model": whole_state(self.network), "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.network.load_state_dict(own_state(self.network, state["model"]))
        load_optimizer(self.optimizer, state["optimizer"])

    def parts(self, batch: ImageBatch, *, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole share, augmented."""
        images = augment_images(
            batch.images,
            self.config.augmentation,
            generator=counted_generator(self.config.seed, "augmentation", step),
            share=(self.fabric.global_rank, self.fabric.world_size),
        )
        yield images, batch.labels
