"""Network and objective together: what is trained, saved and loaded."""

from __future__ import annotations

from torch import Tensor

from faceverif.classification.config import ClassificationConfig
from faceverif.classification.networks import build_network
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
        self.objective = Objective(config, classes=classes, embedding_dim=self.network.embedding_dim)

    def embed(self, pixels: Tensor) -> Tensor:
        """Raw embeddings, (batch, dim), of (batch, C, H, W) pixels in [0, 1]."""
        return self.network(pixels)

    def forward(self, images: Tensor, labels: Tensor) -> ObjectiveOutput:
        """Loss and logits of (batch, C, H, W) uint8 images: mixed precision would round pixels in [0, 1]."""
        return self.objective(self.embed(as_pixels(images)), labels)
