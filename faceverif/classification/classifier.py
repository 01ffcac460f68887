"""Network and objective together: what is trained, saved and loaded."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from faceverif.classification.config import ClassificationConfig
from faceverif.classification.networks import build_network
from faceverif.classification.networks.base import Network
from faceverif.classification.sources import PIXEL_STATISTICS
from faceverif.images.labelled import as_pixels
from faceverif.objective import LearningModel, Objective, ObjectiveOutput


class Classifier(LearningModel):
    """Network and objective in one, for an optimizer over both.

    Args:
        config: the run.
        shape: channels, height and width of an image.
        classes: how many there are.

    Raises:
        InputError: images, classes and config do not fit together.
    """

    def __init__(self, config: ClassificationConfig, *, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.network = build_network(config.network, shape=shape, pixels=PIXEL_STATISTICS[config.data.name])
        self._compiled: Callable[[Tensor], Tensor] | None = None
        self.objective = Objective(config, classes=classes, embedding_dim=self.network.embedding_dim)

    @property
    def layers(self) -> Network:
        """The network."""
        return self.network

    def compile_steps(self) -> None:
        """Compile what the network does in training mode; evaluation stays as it is.

        What is compiled is a function, not a module: names and values of the parameters do not change.
        """
        self._compiled = torch.compile(self.network.forward, mode="reduce-overhead", dynamic=False)

    def run_as_written(self) -> None:
        """Undo `compile_steps`."""
        self._compiled = None

    def embed(self, pixels: Tensor) -> Tensor:
        """Raw embeddings, (batch, dim), of (batch, C, H, W) pixels in [0, 1]."""
        if self._compiled is None or not self.training:
            return self.network(pixels)
        return self._compiled(pixels)

    def forward(self, images: Tensor, labels: Tensor) -> ObjectiveOutput:
        """Loss and logits of (batch, C, H, W) uint8 images: mixed precision would round pixels in [0, 1]."""
        return self.objective(self.embed(as_pixels(images)), labels)
