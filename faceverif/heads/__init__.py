"""Heads: raw embeddings and labels -> logits. A new one is a file, a line here and a config."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from faceverif.heads.adaface import AdaFaceHead
from faceverif.heads.arcface import ArcFaceHead
from faceverif.heads.base import Head, HeadOutput
from faceverif.heads.cosface import CosFaceHead
from faceverif.heads.curricularface import CurricularFaceHead
from faceverif.heads.elasticface import ElasticArcFaceHead, ElasticCosFaceHead
from faceverif.heads.lgm import LGMHead
from faceverif.heads.lsoftmax import LSoftmaxHead
from faceverif.heads.magface import MagFaceHead
from faceverif.heads.normalised_softmax import NormalisedSoftmaxHead
from faceverif.heads.softmax import SoftmaxHead
from faceverif.heads.sphereface import SphereFaceHead
from faceverif.heads.subcenter_arcface import SubcenterArcFaceHead
from faceverif.heads.wsoftmax import WSoftmaxHead

if TYPE_CHECKING:
    from faceverif.config.heads import HeadConfig

HEADS: dict[str, Callable[..., Head]] = {
    "softmax": SoftmaxHead,
    "normalised_softmax": NormalisedSoftmaxHead,
    "cosface": CosFaceHead,
    "arcface": ArcFaceHead,
    "adaface": AdaFaceHead,
    "magface": MagFaceHead,
    "curricularface": CurricularFaceHead,
    "elastic_arcface": ElasticArcFaceHead,
    "elastic_cosface": ElasticCosFaceHead,
    "subcenter_arcface": SubcenterArcFaceHead,
    "sphereface": SphereFaceHead,
    "lsoftmax": LSoftmaxHead,
    "wsoftmax": WSoftmaxHead,
    "lgm": LGMHead,
}


def build_head(config: HeadConfig, *, classes: int, embedding_dim: int) -> Head:
    """The head that a config describes, freshly initialised from torch's global generator."""
    return HEADS[config.name](
        classes=classes, embedding_dim=embedding_dim, **config.model_dump(exclude={"name"})
    )


__all__ = ["HEADS", "Head", "HeadOutput", "build_head"]
