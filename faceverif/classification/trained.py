"""A trained classifier: how it is written, read and asked."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from faceverif.classification.classifier import Classifier
from faceverif.classification.config import ClassificationConfig
from faceverif.config.reading import validate_config
from faceverif.heads import Head
from faceverif.models.location import MODEL_NAME, MODEL_OPTION
from faceverif.models.sealed_tensors import ModelFormat

_FILES = ModelFormat("faceverif.classifier", command="faceverif classify", run="classification run")


class TrainedClassifier(nn.Module):
    """A classifier in evaluation mode: called on pixels in [0, 1] it gives margin-free logits.

    Gradients reach the pixels, not the weights.

    Args:
        classifier: network and objective.
        config: of its run.
        class_names: in the order of the logits.
        sha256: of its weights.

    Attributes:
        network: pixels -> raw embeddings.
        objective: head, criterion and penalties with what they have learnt, such as centers.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        config: ClassificationConfig,
        class_names: tuple[str, ...],
        sha256: str,
    ) -> None:
        super().__init__()
        self.config, self.class_names, self.sha256 = config, class_names, sha256
        self.network, self.objective = classifier.network, classifier.objective
        self.eval().requires_grad_(False)

    @property
    def head(self) -> Head:
        """What compares embeddings with classes."""
        return self.objective.head

    def forward(self, pixels: Tensor) -> Tensor:
        """Margin-free logits, (batch, classes), of pixels in [0, 1], (batch, C, H, W)."""
        return self.head.logits(self.network(pixels))


def save_classifier(
    run: Path, classifier: Classifier, *, config: ClassificationConfig, class_names: tuple[str, ...]
) -> None:
    """Write RUN/model.safetensors whole or not at all: tensors, and as JSON how to build what they are of."""
    about = {
        "config": config.model_dump(mode="json"),
        "shape": list(classifier.network.shape),
        "class_names": list(class_names),
    }
    _FILES.write(run / MODEL_NAME, classifier.state_dict(), about)


def load_classifier(run: Path, *, field: str = MODEL_OPTION) -> TrainedClassifier:
    """The classifier of a finished run, on the CPU; loading runs no code from the file.

    Args:
        run: a folder by `train_classifier`.
        field: the option that names the folder, for the message.

    Raises:
        InputError: no finished run, not one of ours, or weights that do not fit the network it names.
    """
    path = run / MODEL_NAME
    with _FILES.reading(path, field=field) as file:
        config = validate_config(ClassificationConfig, file.about["config"], source=str(path))
        channels, height, width = file.about["shape"]
        names = tuple(file.about["class_names"])
        classifier = Classifier(config, shape=(channels, height, width), classes=len(names))
        classifier.load_state_dict(file.tensors)
    classifier.to(memory_format=torch.channels_last)
    return TrainedClassifier(classifier, config=config, class_names=names, sha256=file.sha256)


def dense_parameters(classifier: TrainedClassifier) -> int:
    """How many numbers the fully connected layers and the head have: the embedding's length decides it."""
    layers = (layer for layer in classifier.network.modules() if isinstance(layer, nn.Linear))
    return sum(each.numel() for part in (*layers, classifier.head) for each in part.parameters())
