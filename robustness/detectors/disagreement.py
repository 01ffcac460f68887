"""Cheap baselines: an attacked picture is one that the model sees otherwise after a harmless change."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from robustness.detectors.base import Detector
from robustness.detectors.views import View, corner_crop, median_filtered, reduced_depth, through_jpeg
from robustness.features import Features

# The paper's depths.
_BITS_OF_GREY, _BITS_OF_COLOUR = 1, 5
_CORNERS = {
    "upper-left": (0, 0),
    "upper-right": (0, 2),
    "middle": (1, 1),
    "lower-left": (2, 0),
    "lower-right": (2, 2),
}


class Disagreement(Detector):
    """How much the model's answer changes from the picture to its views: the most over all views.

    With a head it is the L1 distance of the two softmaxes, in [0, 2], as in Xu et al. (2018), Sec. V-A.
    Without one it is 1 - cosine of the two embeddings. Nothing is fitted.
    """

    needs_classes = False

    def judge(self, features: Features) -> Tensor:
        """The largest disagreement."""
        seen = [features.views[name] for name in self.views]
        return torch.stack([self._between(features, each) for each in seen]).amax(dim=0)

    def _between(self, one: Features, other: Features) -> Tensor:
        if not self.classes:
            return 1.0 - F.cosine_similarity(one.embeddings, other.embeddings)
        return (one.logits.softmax(dim=1) - other.logits.softmax(dim=1)).abs().sum(dim=1)


def fewer_levels(pixels: Tensor) -> Tensor:
    """The depth that Xu et al. chose for grey pictures, or for those in colour, (N, C, H, W)."""
    return reduced_depth(pixels, bits=_BITS_OF_GREY if pixels.shape[1] == 1 else _BITS_OF_COLOUR)


class FeatureSqueezing(Disagreement):
    """Fewer grey levels, and a median filter: Xu et al., "Feature Squeezing" (2018).

    As in the paper, grey pictures get 1 bit (its MNIST) and pictures in colour 5 (its CIFAR-10); the filter
    is 2 x 2. Its third squeezer, non-local means, is left out.
    """

    views: ClassVar[dict[str, View]] = {
        "fewer-levels": fewer_levels,
        "median": partial(median_filtered, size=2),
    }


class JPEGDisagreement(Disagreement):
    """A JPEG file of quality 75: Das et al., "Keeping the Bad Guys Out" (2017), use it as a defence."""

    views: ClassVar[dict[str, View]] = {"jpeg": partial(through_jpeg, quality=75)}


class CropDisagreement(Disagreement):
    """Corners and middle, nine tenths of each side, enlarged; Guo et al. (2018) crop as a defence."""

    views: ClassVar[dict[str, View]] = {
        name: partial(corner_crop, share=0.9, corner=corner) for name, corner in _CORNERS.items()
    }
