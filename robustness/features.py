"""Embeddings and logits of images and of views of them, computed once; detectors see nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from faceverif.heads import Head
from robustness.attacked_model import AttackedModel, embedded, in_box, refuse_unfit_model


class Features(NamedTuple):
    """What a model says of images.

    Attributes:
        embeddings: (N, dim), raw.
        logits: (N, classes), margin-free.
        labels: (N,) int64, the true classes; of attacked images those of the clean ones.
        views: what the model says of changed versions of the images, by the name of the change.
    """

    embeddings: Tensor
    logits: Tensor
    labels: Tensor
    views: Mapping[str, Features] = MappingProxyType({})

    @property
    def predicted(self) -> Tensor:
        """(N,) the class with the largest logit."""
        return self.logits.argmax(dim=1)

    @property
    def correct(self) -> Tensor:
        """(N,) bool, whether that is the true class."""
        return self.predicted == self.labels

    def cpu(self) -> Features:
        """The same on the CPU."""
        return self._each(Tensor.cpu)

    def take(self, which: Tensor) -> Features:
        """The features of those images: indices or a mask."""
        return self._each(lambda tensor: tensor[which])

    @classmethod
    def joined(cls, parts: Sequence[Features]) -> Features:
        """The features of all images of the parts, which have the same views."""
        return cls(
            torch.cat([each.embeddings for each in parts]),
            torch.cat([each.logits for each in parts]),
            torch.cat([each.labels for each in parts]),
            {name: cls.joined([each.views[name] for each in parts]) for name in parts[0].views},
        )

    def _each(self, change: Callable[[Tensor], Tensor]) -> Features:
        views = {name: seen._each(change) for name, seen in self.views.items()}
        return Features(change(self.embeddings), change(self.logits), change(self.labels), views)


def looked_at(
    embed: Callable[[Tensor], Tensor],
    head: Head,
    pixels: Tensor,
    labels: Tensor,
    views: Mapping[str, Callable[[Tensor], Tensor]],
) -> Features:
    """Features with gradients, on the pixels' device, for attacks that know a detector.

    Args:
        embed: (batch, C, H, W) in [0, 1] -> (batch, dim) raw embeddings.
        head: gives the logits.
        pixels: (batch, C, H, W) in [0, 1].
        labels: (batch,) the true classes.
        views: name -> a change of the pixels.
    """

    def seen(version: Tensor) -> Features:
        embeddings = embed(version)
        return Features(embeddings, head.logits(embeddings), labels)

    return seen(pixels)._replace(views={name: seen(view(pixels)) for name, view in views.items()})


def extract_features(
    model: AttackedModel,
    images: Tensor,
    labels: Tensor,
    *,
    views: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType({}),
    portion: int = 500,
) -> Features:
    """Embeddings and logits of any number of images, on the CPU, without gradients.

    Args:
        model: in evaluation mode.
        images: (N, C, H, W), uint8, or float32 in [0, 1].
        labels: (N,) int64.
        views: name -> a change of pixels in [0, 1], whose features are wanted too.
        portion: images at once; memory does not depend on N.

    Raises:
        InputError: a model in training mode, or pixels out of range.
    """
    refuse_unfit_model(model)
    embeddings, logits = [], []
    with torch.no_grad():
        for some in embedded(model.network, images, portion=portion):
            embeddings.append(some.cpu())
            logits.append(model.head.logits(some).cpu())
    seen = {
        name: Features.joined(
            [
                extract_features(model, view(in_box(some)), own, portion=portion)
                for some, own in zip(images.split(portion), labels.split(portion), strict=True)
            ]
        )
        for name, view in views.items()
    }
    return Features(torch.cat(embeddings), torch.cat(logits), labels.cpu(), seen)
