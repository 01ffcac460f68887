"""Backbone and objective in one module."""

from __future__ import annotations

from torch import Tensor

from faceverif.backbones import build_backbone
from faceverif.config.run import RunConfig
from faceverif.objective import LearningModel, Objective


class RecognitionModel(LearningModel):
    """Backbone and objective in one, so that processes exchange the gradients of both."""

    def __init__(self, config: RunConfig, *, classes: int) -> None:
        super().__init__()
        self.backbone = build_backbone(config.backbone)
        self.objective = Objective(config, classes=classes, embedding_dim=config.backbone.embedding_dim)

    def embed(self, pixels: Tensor) -> Tensor:
        """Raw embeddings, (batch, dim), of (batch, 3, input_px, input_px) pixels in [0, 1]."""
        return self.backbone(pixels)
