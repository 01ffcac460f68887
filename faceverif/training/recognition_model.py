"""Backbone and objective in one module."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor, nn

from faceverif.backbones import build_backbone
from faceverif.config.run import RunConfig
from faceverif.objective import LearningModel, Objective, ObjectiveOutput
from faceverif.penalties import Lesson
from faceverif.training.frozen.split import Split, split_at
from faceverif.training.layers import refuse_unknown_layers, tapped
from faceverif.training.teachers.base import TeacherOutput


class RecognitionModel(LearningModel):
    """Backbone and objective in one, so that processes exchange the gradients of both.

    Raises:
        InputError: `training.freeze` or `training.stored_features` names a layer that the backbone does not
            have, or one at which it cannot be cut.
    """

    def __init__(self, config: RunConfig, *, classes: int) -> None:
        super().__init__()
        self._guided = config.teacher is not None and config.teacher.guided
        self.backbone = build_backbone(config.backbone)
        refuse_unknown_layers(self.backbone, config.training.freeze, field="training.freeze")
        self._frozen = [self.backbone.get_submodule(layer) for layer in config.training.freeze]
        stored = config.training.stored_features
        self._layer = None if stored is None else stored.layer
        if self._layer is not None:
            self._frozen.append(split_at(self.backbone, self._layer).before)
        for layer in self._frozen:
            layer.requires_grad_(False)
        self.objective = Objective(config, classes=classes, embedding_dim=config.backbone.embedding_dim)

    @property
    def layers(self) -> nn.Module:
        """The backbone."""
        return self.backbone

    def embed(self, pixels: Tensor) -> Tensor:
        """Raw embeddings, (batch, dim), of (batch, 3, input_px, input_px) pixels in [0, 1]."""
        return self.backbone(pixels)

    @cached_property
    def _split(self) -> Split:
        """Cut when the first batch comes, on the device where the backbone is then; shares its layers."""
        assert self._layer is not None
        return split_at(self.backbone, self._layer)

    def train(self, mode: bool = True) -> RecognitionModel:
        """As in torch; frozen layers keep their batch statistics."""
        super().train(mode)
        for layer in self._frozen:
            layer.eval()
        return self

    def forward(
        self, pixels: Tensor, labels: Tensor, teacher: TeacherOutput | None = None
    ) -> ObjectiveOutput:
        """Loss and logits of (batch, 3, input_px, input_px) pixels in [0, 1], beside a teacher's output.

        Where features are stored, they stand in place of the pixels.
        """
        if self._layer is not None:
            lesson = None if teacher is None else Lesson(teacher.embeddings, ())
            return self.objective(self._split.behind(pixels), labels, lesson)
        if teacher is None:
            return self.objective(self.backbone(pixels), labels)
        guides = teacher.features if self._guided else {}
        with tapped(self.backbone, teacher.features, handing_on=guides) as features:
            embeddings = self.backbone(pixels)
        hints = tuple((features[layer], wanted) for layer, wanted in teacher.features.items())
        return self.objective(embeddings, labels, Lesson(teacher.embeddings, hints))
