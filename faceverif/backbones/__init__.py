"""Backbones: pixels in [0, 1] -> raw embeddings. A new one is a file, a line here and a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from faceverif.backbones.base import Backbone
from faceverif.backbones.inception_resnet import inception_resnet_v1
from faceverif.backbones.iresnet import iresnet
from faceverif.backbones.lgm_resnet import lgm_resnet
from faceverif.backbones.lsoftmax_face import lsoftmax_face
from faceverif.backbones.mobilefacenet import mobilefacenet
from faceverif.backbones.onnx_graph import GRAPH_KEY, OnnxBackbone, onnx_backbone
from faceverif.backbones.sphereface import sphereface
from faceverif.backbones.vit import vit

if TYPE_CHECKING:
    from faceverif.config.backbones import BackboneConfig

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "mobilefacenet": mobilefacenet,
    "iresnet": iresnet,
    "sphereface": sphereface,
    "lgm_resnet": lgm_resnet,
    "lsoftmax_face": lsoftmax_face,
    "inception_resnet_v1": inception_resnet_v1,
    "vit": vit,
    "onnx": onnx_backbone,
}


def build_backbone(config: BackboneConfig, *, state: Mapping[str, Tensor] | None = None) -> Backbone:
    """The backbone that a config describes, freshly initialised from torch's global generator.

    Args:
        config: its section.
        state: what is loaded into it afterwards. An imported ONNX graph is part of it, so that a model file
            needs no other file.
    """
    if config.name == "onnx" and state is not None:
        backbone: Backbone = OnnxBackbone.of_plan(state[GRAPH_KEY], embedding_dim=config.embedding_dim)
    else:
        shape = config.model_dump(exclude={"name", "pixel_mean", "pixel_std"})
        backbone = BACKBONES[config.name](**shape)
    backbone.normalise_pixels(mean=config.pixel_mean, std=config.pixel_std)
    return backbone


__all__ = ["BACKBONES", "Backbone", "build_backbone"]
