"""Backbone and objective in one module."""

from __future__ import annotations

from torch import Tensor

from faceverif.backbones import build_backbone
from faceverif.config.run import RunConfig
from faceverif.objective import LearningModel, Objective, ObjectiveOutput
from faceverif.penalties import Lesson
from faceverif.training.layers import refuse_unknown_layers, tapped
from faceverif.training.teacher import TeacherOutput


class RecognitionModel(LearningModel):
    """Backbone and objective in one, so that processes exchange the gradients of both.

    Raises:
        InputError: `training.freeze` names a layer that the backbone does not have.
    """

    def __init__(self, config: RunConfig, *, classes: int) -> None:
        super().__init__()
        self._guided = config.teacher is not None and config.teacher.guided
        self.backbone = build_backbone(config.backbone)
        refuse_unknown_layers(self.backbone, config.training.freeze, field="training.freeze")
        self._frozen = [self.backbone.get_submodule(layer) for layer in config.training.freeze]
        for layer in self._frozen:
            layer.requires_grad_(False)
        self.objective = Objective(config, classes=classes, embedding_dim=config.backbone.embedding_dim)

    def embed(self, pixels: Tensor) -> Tensor:
        """Raw embeddings, (batch, dim), of (batch, 3, input_px, input_px) pixels in [0, 1]."""
        return self.backbone(pixels)

    def train(self, mode: bool = True) -> RecognitionModel:
        """As in torch; frozen layers keep their batch statistics."""
        super().train(mode)
        for layer in self._frozen:
            layer.eval()
        return self

    def forward(
        self, pixels: Tensor, labels: Tensor, teacher: TeacherOutput | None = None
    ) -> ObjectiveOutput:
        """Loss and logits of (batch, 3, input_px, input_px) pixels in [0, 1], beside a teacher's output."""
        if teacher is None:
            return self.objective(self.backbone(pixels), labels)
        guides = teacher.features if self._guided else {}
        with tapped(self.backbone, teacher.features, handing_on=guides) as features:
            embeddings = self.backbone(pixels)
        hints = tuple((features[layer], wanted) for layer, wanted in teacher.features.items())
        return self.objective(embeddings, labels, Lesson(teacher.embeddings, hints))
